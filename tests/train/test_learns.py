"""A learner must learn something tiny."""

import copy
from pathlib import Path
from typing import Any

import pytest

from mise_gym.train.config import GamesConfig, TrainConfig
from mise_gym.train.learning import Trainer
from mise_gym.train.metrics import MetricsFile
from mise_gym.train.players import LocalPlayers
from mise_gym.train.ppo import PPOConfig
from mise_gym.train.warm_start import WarmStartConfig
from tests.train.conftest import MakePolicy
from tests.train.pantry import Pantry


class Bandit(Pantry):
    """One turn and two commands, one of which wins."""

    def _info(self) -> dict[str, Any]:
        return super()._info() | {"admissible_commands": ["take green pear", "take red apple"], "task": "Take the best!"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("reward", "options"),
    [
        ("sparse", {}),
        ("mise", {}),
        ("sparse", {"advantages": "token", "critic": "separate"}),
        ("sparse", {"baseline": "rloo", "group_size": 8}),
        ("sparse", {"baseline": "grpo", "group_size": 8}),
    ],
    ids=str,
)
def test_a_bandit_is_solved_from_a_random_model(
    tmp_path: Path, make_policy: MakePolicy, reward: Any, options: dict[str, Any]
) -> None:
    config = TrainConfig(
        run_dir=tmp_path,
        reward=reward,
        checkpoint_every=1000,
        games=GamesConfig(train=1),
        warm_start=WarmStartConfig(expert_episodes=0, judge_episodes=0),
        ppo=PPOConfig(
            iterations=15,
            episodes_per_iteration=32,
            num_envs=32,
            num_epochs=2,
            learning_rate=1e-3,
            ent_coef=0.0,
            kl_coef=0.0,
            **options,
        ),
    )
    policy = make_policy(0, critic=config.ppo.critic)
    metrics = MetricsFile(tmp_path / "metrics.jsonl")
    players = LocalPlayers([Bandit() for _ in range(32)], policy)
    trainer = Trainer(policy, copy.deepcopy(policy), players, config, tmp_path, metrics, seed=[0])

    list(trainer.iterate())

    success = [record["rollout/success_rate"] for record in metrics.read()]
    assert success[0] < 0.8
    assert success[-1] > 0.95
