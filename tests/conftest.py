"""Shared parts."""

import signal

import gymnasium as gym
import pytest
from hypothesis import settings

from tests.corridor import CORRIDOR_ID

settings.register_profile("repeatable", derandomize=True, database=None, deadline=None)
settings.load_profile("repeatable")

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # a shell's "&" makes all that it starts deaf to Ctrl-C, which tests send
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def corridor() -> gym.Env[str, str]:
    return gym.make(CORRIDOR_ID, infos=["admissible_commands"])
