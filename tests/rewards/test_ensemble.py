"""EnsembleJudge: mean, median, disagreement, quorum."""

import gymnasium as gym
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from mise_gym.errors import ConfigError, JudgeError, UnknownNameError
from mise_gym.rewards import JudgeResult, JudgeStatus, MISERewardVectorWrapper, MISERewardWrapper, make_judge
from mise_gym.rewards.judges.constant import ConstantJudge
from mise_gym.types import Episode, Transition
from tests.corridor import CORRIDOR_ID


def episode(num_turns=2):
    turn = Transition(observation="a", action="b", reward=0.0, next_observation="c")
    return Episode(task="", transitions=(turn,) * num_turns, progress=1.0, success=True, terminated=True, truncated=False)


class Failing:
    name = "failing"

    def judge(self, episodes):
        return [JudgeResult(status=JudgeStatus.TIMEOUT, message="no answer", calls=1, cost=0.5) for _ in episodes]


class Broken(Failing):
    def judge(self, episodes):
        raise JudgeError("The machine is gone.")


class TooLong(Failing):
    def judge(self, episodes):
        return [JudgeResult(scores=(0.5,) * 9) for _ in episodes]


def ensemble(*scores, more=(), **options):
    return make_judge("ensemble", {"judges": [*map(ConstantJudge, scores), *more], **options})


def test_the_mean_and_the_disagreement_of_every_turn():
    (result,) = ensemble(0.0, 1.0).judge([episode()])
    assert (result.scores, result.disagreement) == ((0.5, 0.5), (0.5, 0.5))


def test_the_median_is_not_moved_by_one_judge_that_is_far_off():
    (result,) = ensemble(0.2, 0.3, 1.0, combine="median").judge([episode(1)])
    assert result.scores == (0.3,)


def test_one_failure_fails_the_episode_and_costs_add_up():
    (result,) = ensemble(0.5, more=[Failing(), Failing()]).judge([episode()])
    assert (result.status, result.scores) == (JudgeStatus.TIMEOUT, None)
    assert result.message == "1 of 3 judges gave scores; failing: no answer"
    assert (result.calls, result.cost) == (2, 1.0)


@pytest.mark.parametrize("bad", [Failing(), Broken(), TooLong()])
def test_with_a_quorum_the_others_decide(bad):
    (result,) = ensemble(0.0, 0.5, more=[bad], quorum=2).judge([episode()])
    assert result.scores == (0.25, 0.25)


def test_an_estimate_is_the_sum_over_the_judges_that_cost_something():
    remote = {"judge": "http", "judge_kwargs": {"model": "m", "base_url": "http://localhost/v1"}}
    one = make_judge(remote["judge"], remote["judge_kwargs"]).estimate([episode()])
    both = ensemble(0.5, more=[remote, remote]).estimate([episode()])
    assert (both.episodes, both.requests, both.input_tokens) == (1, 2, 2 * one.input_tokens)


def test_judges_are_named_with_their_arguments_and_the_wrapper_records_it(corridor):
    judges = ["oracle", {"judge": "constant", "judge_kwargs": {"score": 1.0}}]
    env = MISERewardWrapper(corridor, judge="ensemble", judge_kwargs={"judges": judges, "combine": "median"})
    assert env.pipeline.judge.name == "median(oracle, constant)"
    assert '"score": 1.0' in env.spec.to_json()


def test_the_disagreement_reaches_info(corridor):
    env = MISERewardWrapper(corridor, judge=ensemble(0.0, 1.0))
    env.reset(options={"length": 1})
    assert env.step("go east")[4]["mise"]["judge"]["disagreement"] == [0.5]


@pytest.mark.parametrize("options", [{"judges": []}, {"judges": ["oracle"]}, {"judges": ["oracle"] * 2, "quorum": 3}])
def test_too_few_judges_are_refused(options):
    with pytest.raises(ConfigError, match="Give at least two judges"):
        make_judge("ensemble", options)


def test_an_unknown_combination_is_refused():
    with pytest.raises(UnknownNameError, match="Did you mean 'median'"):
        ensemble(0.1, 0.2, combine="medain")


def test_an_unknown_key_of_a_judge_is_refused():
    with pytest.raises(ConfigError, match=r"has the keys \['kwargs', 'name'\]"):
        make_judge("ensemble", {"judges": [{"name": "oracle", "kwargs": {}}, "oracle"]})


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_disagreements_of_different_lengths_share_the_infos_of_a_vector(mode):
    envs = SyncVectorEnv([lambda: gym.make(CORRIDOR_ID)] * 2, autoreset_mode=mode)
    wrapped = MISERewardVectorWrapper(envs, judge="ensemble", judge_kwargs={"judges": ["oracle", "constant"]})
    wrapped.reset(options={"length": 2})
    wrapped.step(["go east", "wait"])
    infos = wrapped.step(["go east", "go east"])[4]
    first = infos.get("final_info", infos)["mise"]["judge"]["disagreement"][0]
    assert first == [0.25, 0.25]
