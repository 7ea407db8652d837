"""What tests of real simulators share."""

from collections.abc import Iterator

import gymnasium as gym
import pytest

from mise_gym.envs.science.machine import Machine


@pytest.fixture(scope="module")
def one_java_machine() -> Iterator[None]:
    """An open environment, without which Java would end with every test."""
    env = gym.make("mise/ScienceWorld-v0")
    env.reset(seed=1)
    yield
    env.close()


@pytest.fixture(scope="module")
def one() -> Iterator[Machine]:
    """A Java machine that stays for the whole file."""
    machine = Machine()
    stay = machine.open()
    yield machine
    machine.leave(stay)
