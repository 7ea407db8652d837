"""Shared parts."""

import signal
from collections.abc import Iterator

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


@pytest.fixture(scope="session", autouse=True)
def _logs_of_stable_baselines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep Stable-Baselines3 from making a folder in the system's one for every agent."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SB3_LOGDIR", str(tmp_path_factory.mktemp("sb3")))
        yield
