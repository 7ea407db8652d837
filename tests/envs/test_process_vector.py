"""Environments spread over processes against the same in one process."""

import functools
import gc
import os
import signal
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from mise_gym.envs.process_vector import ProcessVectorEnv
from mise_gym.errors import ConfigError, SimulatorCrashed
from tests.corridor import CORRIDOR_ID

FIVE = ("go east", "wait", "go east", "dance", "go east")


class Uneven(gym.Wrapper[Any, Any, Any, Any]):
    """Tells more in some environments than in others."""

    def __init__(self, env: gym.Env[Any, Any], number: int) -> None:
        super().__init__(env)
        self.number = number

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        if action == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if action == "complain":
            raise ConfigError("Somebody complained.")
        observation, reward, terminated, truncated, info = self.env.step(action)
        own = {"number": self.number, "word": f"w{self.number}", "nested": {"half": self.number / 2}} if self.number > 2 else {}
        return observation, reward, terminated, truncated, {**info, **own}


def make_one(number: int) -> gym.Env[Any, Any]:
    return Uneven(gym.wrappers.TimeLimit(gym.make(CORRIDOR_ID), 2 + number), number)


MAKERS = [functools.partial(make_one, number) for number in range(5)]


def vector(mode: AutoresetMode = AutoresetMode.NEXT_STEP, processes: int = 2) -> ProcessVectorEnv:
    return ProcessVectorEnv(MAKERS, processes=processes, context=None, autoreset_mode=mode)


def plain(value: Any) -> Any:
    """Arrays as lists, so that == compares."""
    if isinstance(value, dict):
        return {name: plain(entry) for name, entry in value.items()}
    if isinstance(value, tuple):
        return [plain(entry) for entry in value]
    return value.tolist() if isinstance(value, np.ndarray) else value


def children() -> list[str]:
    return Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
@pytest.mark.parametrize("processes", [1, 2, 3, 9])
def test_five_environments_say_in_any_number_of_processes_what_they_say_in_one(mode: AutoresetMode, processes: int) -> None:
    here, there = SyncVectorEnv(MAKERS, autoreset_mode=mode), vector(mode, processes)

    assert plain(there.reset(seed=3)) == plain(here.reset(seed=3))
    for _ in range(8):
        assert plain(there.step(FIVE)) == plain(here.step(FIVE))
    there.close()


def test_a_mask_that_names_nobody_of_a_process_leaves_its_observations_alone() -> None:
    here, there = SyncVectorEnv(MAKERS, autoreset_mode=AutoresetMode.DISABLED), vector(AutoresetMode.DISABLED)
    for envs in (here, there):
        envs.reset(seed=1)
        envs.step(FIVE)
    mask = np.array([False, True, False, False, False])

    assert plain(there.reset(options={"reset_mask": mask.copy()})) == plain(here.reset(options={"reset_mask": mask.copy()}))
    with pytest.raises(ValueError, match="at least one environment"):
        there.reset(options={"reset_mask": np.zeros(5, dtype=bool)})
    there.close()


def test_what_an_environment_raises_comes_out_and_the_others_go_on() -> None:
    envs = vector(AutoresetMode.DISABLED)
    with pytest.raises(gym.error.ResetNeeded):
        envs.step(FIVE)
    envs.reset(seed=1)
    with pytest.raises(ConfigError, match="Somebody complained"):
        envs.step(("complain", *FIVE[1:]))
    _, infos = envs.reset(seed=1)
    envs.close()

    assert infos["turn"].tolist() == [0] * 5


def test_a_process_that_dies_is_reported() -> None:
    envs = vector()
    envs.reset(seed=1)
    with pytest.raises(SimulatorCrashed, match=r"exit status -9.*Make the vector again"):
        envs.step(("wait", "wait", "wait", "wait", "die"))
    with pytest.raises(SimulatorCrashed, match="Make the vector again"):
        envs.step(FIVE)
    envs.close()


def test_attributes_of_all_environments_are_read_and_set_in_order() -> None:
    envs = vector()
    before = envs.get_attr("number")
    envs.set_attr("number", [10, 11, 12, 13, 14])
    after = envs.call("get_wrapper_attr", "number")
    envs.set_attr("number", 7)
    alike = envs.get_attr("number")
    envs.close()

    assert (before, after, alike) == ((0, 1, 2, 3, 4), (10, 11, 12, 13, 14), (7,) * 5)


@pytest.mark.parametrize("forgotten", [False, True])
def test_no_process_is_left_behind(forgotten: bool) -> None:
    before = set(children())
    envs = vector(processes=3)
    envs.reset(seed=1)
    started = set(children()) - before
    if not forgotten:
        envs.close()
        envs.close()
    del envs
    gc.collect()
    deadline = time.monotonic() + 5
    while started & set(children()) and time.monotonic() < deadline:
        time.sleep(0.01)

    assert len(started) == 3
    assert not started & set(children())


@pytest.mark.parametrize("actions", [FIVE[:4], (*FIVE, "wait")])
def test_one_action_per_environment(actions: tuple[str, ...]) -> None:
    envs = vector()
    envs.reset(seed=1)
    with pytest.raises(ValueError, match="actions for 5 environments"):
        envs.step(actions)
    envs.close()
