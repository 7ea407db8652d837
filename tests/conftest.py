"""Shared parts."""

import gymnasium as gym
import pytest

from tests.corridor import CORRIDOR_ID


@pytest.fixture
def corridor() -> gym.Env[str, str]:
    return gym.make(CORRIDOR_ID, infos=["admissible_commands"])
