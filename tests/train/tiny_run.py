"""A whole run on real games that takes seconds."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from mise_gym.errors import ConfigError
from mise_gym.train.config import GamesConfig, TrainConfig
from mise_gym.train.ppo import PPOConfig
from mise_gym.train.run import TrainingRun
from mise_gym.train.warm_start import WarmStartConfig
from tests.train.conftest import TINY

ITERATIONS = 3


def tiny_run(folder: Path, *, iterations: int = ITERATIONS, **settings: Any) -> TrainConfig:
    return TrainConfig(
        run_dir=folder,
        threads=1,
        w_hindsight=0.25,
        max_observation_tokens=48,
        games=GamesConfig(level="recipe1+take1+cook+cut+open+mixed", train=6, heldout=3, max_turns=5),
        tiny=TINY,
        warm_start=WarmStartConfig(expert_episodes=3, judge_episodes=3, epochs=1),
        ppo=PPOConfig(iterations=iterations, episodes_per_iteration=4, num_envs=2, num_epochs=1, learning_rate=1e-3),
        **settings,
    )


def refusals(configs: Sequence[TrainConfig]) -> list[str]:
    """Begin runs that cannot be, and return what was said."""
    messages = []
    for config in configs:
        with pytest.raises(ConfigError) as refused:
            TrainingRun(config)
        messages.append(str(refused.value))
    return messages
