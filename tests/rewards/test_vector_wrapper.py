"""MISERewardVectorWrapper: every autoreset mode gives each episode the reward that it gets alone."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from mise_gym.errors import ConfigError, JudgeError
from mise_gym.rewards import JudgeResult, JudgeStatus, MISERewardVectorWrapper, MISERewardWrapper

CORRIDOR = "tests/Corridor-v0"
OPTIONS = {"judge": "oracle", "calibrator": "centred", "w_hindsight": 0.5}
MODES = list(AutoresetMode)
DELIVERIES = ["terminal", "info", "step"]


class Fixed(gym.Wrapper):
    """A corridor whose length is always the same, also after an automatic reset."""

    def __init__(self, length):
        super().__init__(gym.make(CORRIDOR))
        self.length = length

    def reset(self, *, seed=None, options=None):
        return self.env.reset(seed=seed, options={"length": self.length})


class Spy:
    """Remembers the actions of every episode of every request."""

    name = "spy"

    def __init__(self):
        self.requests = []

    def judge(self, episodes):
        self.requests.append([[turn.action for turn in episode.transitions] for episode in episodes])
        return [JudgeResult(scores=(0.5,) * len(episode)) for episode in episodes]


def vector(mode, lengths, **options):
    envs = SyncVectorEnv([lambda length=length: Fixed(length) for length in lengths], autoreset_mode=mode)
    return MISERewardVectorWrapper(envs, **OPTIONS | options)


def wrapped_inside(mode, lengths, **options):
    makers = [lambda length=length: MISERewardWrapper(Fixed(length), **OPTIONS | options) for length in lengths]
    return SyncVectorEnv(makers, autoreset_mode=mode)


def drive(envs, mode, actions):
    """Return the rewards, shape (T, N), and the infos; without autoreset, ended environments are reset by mask."""
    envs.reset(seed=0)
    rewards, infos = [], []
    for action in actions:
        _, reward, terminations, truncations, info = envs.step(action)
        rewards.append(reward.tolist())
        infos.append(info)
        done = terminations | truncations
        if mode == AutoresetMode.DISABLED and done.any():
            envs.reset(options={"reset_mask": done})
    return rewards, infos


def mise_of(infos, mode):
    """Return (step, environment, scores) of every ended episode."""
    found = []
    for step, info in enumerate(infos):
        info = info.get("final_info", {}) if mode == AutoresetMode.SAME_STEP else info
        if "mise" in info:
            found += [(step, index, info["mise"]["scores"][index]) for index in np.flatnonzero(info["_mise"])]
    return found


EAST = [["go east", "go east"]] * 8


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("delivery", DELIVERIES)
def test_the_vector_wrapper_pays_what_wrappers_inside_pay(mode, delivery):
    outside, outside_infos = drive(vector(mode, [2, 3], delivery=delivery), mode, EAST)
    inside, inside_infos = drive(wrapped_inside(mode, [2, 3], delivery=delivery), mode, EAST)
    assert outside == inside
    assert mise_of(outside_infos, mode) == mise_of(inside_infos, mode) != []


@pytest.mark.parametrize("mode", MODES)
def test_every_episode_is_judged_once_and_whole(mode):
    judge = Spy()
    actions = [[f"a{step}", f"b{step}"] for step in range(26)]  # only the limit of 12 turns ends an episode
    drive(vector(mode, [2, 3], judge=judge), mode, actions)
    first, second = ([f"{env}{step}" for step in range(12)] for env in "ab")
    assert judge.requests[0] == [first, second]
    assert len(judge.requests) == 2


def test_the_ghost_step_is_neither_judged_nor_paid():
    judge = Spy()
    rewards, infos = drive(vector(AutoresetMode.NEXT_STEP, [1, 1], judge=judge, calibrator="identity"), None, EAST[:3])
    assert judge.requests == [[["go east"], ["go east"]]] * 2
    assert rewards == [[1.25, 1.25], [0.0, 0.0], [1.25, 1.25]]
    assert "reward/env" not in infos[1]


def test_only_episodes_that_ended_are_judged():
    judge = Spy()
    drive(vector(AutoresetMode.SAME_STEP, [1, 3], judge=judge), None, EAST[:2])
    assert judge.requests == [[["go east"]], [["go east"]]]


def test_step_delivery_asks_once_per_step_for_all():
    judge = Spy()
    drive(vector(AutoresetMode.NEXT_STEP, [2, 3], judge=judge, delivery="step"), None, EAST[:2])
    assert [len(request) for request in judge.requests] == [2, 2]
    assert judge.requests[1] == [["go east"] * 2, ["go east"] * 2]


class FailsOnThreeTurns(Spy):
    """Cannot judge episodes of three turns."""

    def judge(self, episodes):
        results = super().judge(episodes)
        return [
            JudgeResult(status=JudgeStatus.TIMEOUT) if len(episode) == 3 else result
            for episode, result in zip(episodes, results, strict=True)
        ]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("delivery", ["terminal", "info"])
def test_a_failure_costs_one_environment_its_hindsight_reward_and_no_other(mode, delivery):
    envs = vector(mode, [2, 3], judge=FailsOnThreeTurns(), calibrator="identity", delivery=delivery)
    rewards, infos = drive(envs, mode, EAST[:3])
    paid = 1.5 if delivery == "terminal" else 1.0  # the environment's 1, and 0.5 * (0.5 + 0.5)
    assert (rewards[1][0], rewards[2][1]) == (paid, 1.0)
    assert mise_of(infos, mode) == [(1, 0, [0.5, 0.5]), (2, 1, [])]


@pytest.mark.parametrize("mode", MODES)
def test_after_an_error_the_next_episodes_are_sound(mode):
    judge = FailsOnThreeTurns()
    envs = vector(mode, [3, 2], judge=judge, on_judge_failure="raise", retries=0)
    envs.reset(seed=0)
    envs.step(["go east", "go east"])
    envs.step(["go east", "wait"])
    with pytest.raises(JudgeError, match="timeout"):
        envs.step(["go east", "go east"])
    judge.requests.clear()
    envs.reset(seed=0)
    envs.step(["wait", "go east"])
    envs.step(["wait", "go east"])
    assert judge.requests == [[["go east"] * 2]]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("delivery", DELIVERIES)
def test_truncated_episodes_are_judged_in_every_mode(mode, delivery):
    _, infos = drive(vector(mode, [2, 3], delivery=delivery), mode, [["wait", "wait"]] * 12)
    assert mise_of(infos, mode) == [(11, 0, [0.5] * 12), (11, 1, [0.5] * 12)]


@pytest.mark.parametrize("mode", MODES)
def test_all_environments_teach_one_calibrator(mode):
    envs = vector(mode, [2, 3], calibrator="outcome")
    drive(envs, mode, EAST[:3])
    assert envs.pipeline.calibrator.state_dict() == {"episodes": [[[1.0, 1.0], 1.0], [[1.0, 1.0, 1.0], 1.0]]}


def test_evaluation_never_teaches_the_calibrator():
    envs = vector(AutoresetMode.NEXT_STEP, [2, 3], calibrator="outcome", learn=False)
    drive(envs, None, EAST)
    assert envs.pipeline.calibrator.state_dict() == {"episodes": []}


@pytest.mark.parametrize("mode", MODES)
def test_weight_zero_changes_no_reward(mode):
    plain = SyncVectorEnv([lambda length=length: Fixed(length) for length in (2, 3)], autoreset_mode=mode)
    rewards, _ = drive(vector(mode, [2, 3], w_hindsight=0.0), mode, EAST)
    assert rewards == drive(plain, mode, EAST)[0]


def test_a_partial_reset_drops_only_the_episodes_it_names():
    judge = Spy()
    envs = vector(AutoresetMode.DISABLED, [3, 2], judge=judge)
    envs.reset(seed=0)
    envs.step(["go east", "wait"])
    envs.reset(options={"reset_mask": np.array([True, False])})
    envs.step(["go east", "go east"])
    envs.step(["go east", "go east"])
    assert judge.requests == [[["wait", "go east", "go east"]]]


def test_without_autoreset_an_ended_environment_must_be_reset():
    envs = vector(AutoresetMode.DISABLED, [1, 2])
    envs.reset(seed=0)
    envs.step(["go east", "go east"])
    with pytest.raises(gym.error.ResetNeeded):
        envs.step(["go east", "go east"])


def test_stepping_before_reset_is_refused():
    with pytest.raises(gym.error.ResetNeeded):
        vector(AutoresetMode.NEXT_STEP, [1, 2]).step(["wait", "wait"])


def test_every_environment_is_told_its_own_seed():
    seen = []

    class Seeds(Spy):
        def judge(self, episodes):
            seen.extend(episode.seed for episode in episodes)
            return super().judge(episodes)

    envs = vector(AutoresetMode.NEXT_STEP, [1, 1], judge=Seeds())
    envs.reset(seed=7)
    envs.step(["go east", "go east"])
    assert seen == [7, 8]


def test_numbers_are_refused():
    with pytest.raises(ConfigError, match="observation space is Box"):
        MISERewardVectorWrapper(gym.make_vec("CartPole-v1", 2))
