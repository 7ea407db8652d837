"""What tests of real simulators share."""

from collections.abc import Iterator

import gymnasium as gym
import pytest


@pytest.fixture(scope="module")
def one_java_machine() -> Iterator[None]:
    """An open environment, without which Java would end with every test."""
    env = gym.make("mise/ScienceWorld-v0")
    env.reset(seed=1)
    yield
    env.close()
