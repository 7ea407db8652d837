"""Shared parts."""

import gymnasium as gym
import pytest
from hypothesis import settings

from tests.corridor import CORRIDOR_ID

settings.register_profile("repeatable", derandomize=True, database=None, deadline=None)
settings.load_profile("repeatable")


@pytest.fixture
def corridor() -> gym.Env[str, str]:
    return gym.make(CORRIDOR_ID, infos=["admissible_commands"])
