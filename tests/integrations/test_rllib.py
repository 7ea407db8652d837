"""The callback of RLlib: what its learner makes of the samples is what a slow and obvious computation makes of them.

The env runner and the learner are RLlib's own, used without the cluster of processes around them.
"""

from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.env.multi_agent_episode import MultiAgentEpisode
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.tune.registry import register_env

from mise_gym.envs.wrappers import AdmissibleIndexAction, HashedText
from mise_gym.errors import ConfigError
from mise_gym.integrations.rllib import HindsightRewardCallback
from mise_gym.rewards import MISERewardWrapper
from tests.corridor import CORRIDOR_ID

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*Overriding environment rllib-single-agent-env-v0"),  # by every env runner but the first
]
GAMMA, LAMBDA, NUM_ENVS, N_STEPS, W_ENV, W_HINDSIGHT = 0.9, 0.8, 2, 17, 2.0, 0.5


def corridor(settings: dict[str, Any]) -> gym.Env[Any, Any]:
    env = gym.make(CORRIDOR_ID, infos=["admissible_commands"], max_episode_steps=6)
    if "delivery" in settings:
        env = MISERewardWrapper(
            env, judge="heuristic", calibrator="identity", w_env=W_ENV, w_hindsight=W_HINDSIGHT, delivery=settings["delivery"]
        )
    return HashedText(AdmissibleIndexAction(env, max_actions=2), size=16)


def config(delivery: str | None = "info", **runners: Any) -> PPOConfig:
    register_env("corridor", corridor)
    settings = {} if delivery is None else {"delivery": delivery}
    runners = {
        "num_envs_per_env_runner": NUM_ENVS,
        "rollout_fragment_length": N_STEPS,
        "batch_mode": "truncate_episodes",
    } | runners
    made = PPOConfig().environment("corridor", env_config=settings).env_runners(num_env_runners=0, **runners)
    return made.callbacks(HindsightRewardCallback).training(gamma=GAMMA, lambda_=LAMBDA).debugging(seed=3)


@dataclass
class Piece:
    """An episode, or a part of it that a border cut, as it was sampled, and what the learner made of it."""

    rewards: np.ndarray
    mise: dict[str, Any] | None
    first_turn: int
    won: bool
    timed_out: bool
    slow_targets: list[float]
    targets: np.ndarray


def slow_targets(piece: SingleAgentEpisode, values: np.ndarray) -> list[float]:
    """GAE plus value, as a sum over the turns that follow in this piece. Shapes ``(T,)``, values ``(T + 1,)``."""
    rewards, length = piece.get_rewards(), len(piece)
    following = [0.0 if piece.is_terminated and turn + 1 == length else values[turn + 1] for turn in range(length)]
    errors = [rewards[turn] + GAMMA * following[turn] - values[turn] for turn in range(length)]
    weights = GAMMA * LAMBDA
    return [values[turn] + sum(weights**later * error for later, error in enumerate(errors[turn:])) for turn in range(length)]


@pytest.fixture(scope="module")
def runner() -> SingleAgentEnvRunner:
    return SingleAgentEnvRunner(config=config())


@pytest.fixture(scope="module")
def pieces(runner: SingleAgentEnvRunner) -> list[Piece]:
    """Two samples in a row, so that episodes are cut by the border between them."""
    sampled = runner.sample() + runner.sample()
    learner = config().build_learner(env=corridor({"delivery": "info"}))
    module = learner.module["default_policy"]
    made = []
    for piece in sampled:
        with torch.no_grad():
            values = module.compute_values({"obs": torch.as_tensor(piece.get_observations())}).numpy()
        known = (np.array(piece.get_rewards()), piece.get_infos(-1).get("mise"), piece.t_started)
        made.append(Piece(*known, piece.is_terminated, piece.is_truncated, slow_targets(piece, values), np.array([])))
    batch = learner._learner_connector(
        rl_module=learner.module, batch={}, episodes=sampled, shared_data={}, metrics=learner.metrics
    )
    targets = batch["default_policy"]["value_targets"].numpy()
    for piece, its_targets in zip(
        made, np.split(targets, np.cumsum([len(piece.rewards) + 1 for piece in made])[:-1]), strict=True
    ):
        piece.targets = its_targets[:-1]  # the last is that of a turn which RLlib adds
    return made


def test_the_samples_hold_wins_timeouts_and_episodes_cut_by_both_borders(pieces: list[Piece]) -> None:
    assert any(piece.won for piece in pieces)
    assert any(piece.timed_out for piece in pieces)
    assert any(piece.mise is None for piece in pieces)
    assert any(piece.mise is not None and piece.first_turn > 0 for piece in pieces)


def test_every_turn_of_an_episode_that_ended_gets_its_reward(pieces: list[Piece]) -> None:
    for piece in pieces:
        if piece.mise is not None:
            by_hand = W_ENV * np.array(piece.mise["env_rewards"]) + W_HINDSIGHT * np.array(piece.mise["scores"])
            np.testing.assert_allclose(piece.rewards, by_hand[piece.first_turn :], atol=1e-6)


def test_turns_before_a_border_keep_the_reward_of_the_environment(pieces: list[Piece]) -> None:
    cut = [piece for piece in pieces if piece.mise is None]

    assert [piece.rewards.tolist() for piece in cut] == [[0.0] * len(piece.rewards) for piece in cut]


def test_the_learner_computes_its_targets_from_the_new_rewards(pieces: list[Piece]) -> None:
    for piece in pieces:
        np.testing.assert_allclose(piece.targets, piece.slow_targets, atol=1e-5)


def test_what_was_added_and_what_the_environment_paid_is_logged(runner: SingleAgentEnvRunner, pieces: list[Piece]) -> None:
    logged = {name: stats.peek() for name, stats in runner.get_metrics()["hindsight"].items()}
    ended = [piece.mise for piece in pieces if piece.mise is not None]

    assert logged["env_return"] == pytest.approx(np.mean([sum(mise["env_rewards"]) for mise in ended]))
    assert logged["reward"] == pytest.approx(np.mean([sum(mise["step_rewards"]) - sum(mise["env_rewards"]) for mise in ended]))
    assert 0 < logged["unjudged_turns"] < 0.5


def test_with_complete_episodes_no_turn_goes_without() -> None:
    runner = SingleAgentEnvRunner(config=config(batch_mode="complete_episodes"))

    sampled = runner.sample()

    assert all(len(piece) == len(piece.get_infos(-1)["mise"]["scores"]) for piece in sampled)
    assert runner.get_metrics()["hindsight"]["unjudged_turns"].peek() == 0


def test_evaluation_keeps_the_reward_of_the_environment() -> None:
    settings = config()
    settings.in_evaluation = True

    sampled = SingleAgentEnvRunner(config=settings).sample(num_episodes=2)

    assert all(np.array(piece.get_rewards()).tolist() == piece.get_infos(-1)["mise"]["env_rewards"] for piece in sampled)


@pytest.mark.parametrize(("delivery", "message"), [(None, "without info\\['mise'\\]"), ("terminal", "delivery='info'")])
def test_an_episode_that_was_not_judged_or_was_paid_already_is_refused(delivery: str | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SingleAgentEnvRunner(config=config(delivery)).sample()


def test_episodes_of_several_agents_are_refused() -> None:
    with pytest.raises(ConfigError, match="MultiAgentEpisode, not a SingleAgentEpisode"):
        HindsightRewardCallback().on_episode_end(episode=MultiAgentEpisode())
