"""RewardPipeline: judge, calibrate, mix; failures; order of reward and learning; state."""

import json
import math

import pytest

from mise_gym.errors import CheckpointError, ConfigError, JudgeError
from mise_gym.rewards import JudgeResult, JudgeStatus, RewardPipeline
from mise_gym.rewards.mixing import mix
from mise_gym.types import Episode, Transition


def episode(*rewards):
    turns = tuple(Transition(observation="a", action="b", reward=reward, next_observation="c") for reward in rewards)
    return Episode(
        task="", transitions=turns, progress=float(sum(rewards)), success=sum(rewards) == 1, terminated=True, truncated=False
    )


class Scripted:
    """Returns the given answers call by call, and remembers how many episodes each call had."""

    name = "scripted"

    def __init__(self, *answers):
        self.answers = list(answers)
        self.sizes = []

    def judge(self, episodes):
        self.sizes.append(len(episodes))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def ok(*scores, **costs):
    return JudgeResult(scores=scores, **costs)


def failed(status=JudgeStatus.TIMEOUT, **rest):
    return JudgeResult(status=status, **rest)


def test_the_reward_is_the_weighted_sum():
    pipeline = RewardPipeline(Scripted([ok(0.25, 0.75)]), "centred", w_env=2.0, w_hindsight=0.5)
    (breakdown,) = pipeline.reward([episode(0.0, 1.0)])
    assert breakdown.env_rewards == (0.0, 1.0)
    assert breakdown.scores == (0.25, 0.75)
    assert breakdown.calibrated == (-0.5, 0.5)
    assert breakdown.step_rewards == (-0.25, 2.25)
    assert breakdown.status is JudgeStatus.OK


def test_all_episodes_go_to_the_judge_in_one_request():
    judge = Scripted([ok(0.5), ok(0.5, 0.5), ok(0.5)])
    RewardPipeline(judge).reward([episode(0.0), episode(0.0, 0.0), episode(1.0)])
    assert judge.sizes == [3]


def test_no_episodes_need_no_judge():
    judge = Scripted()
    assert RewardPipeline(judge).reward([]) == []
    assert judge.sizes == []


def test_an_episode_without_turns_is_not_judged():
    judge = Scripted([ok(0.5)])
    empty, full = RewardPipeline(judge).reward([episode(), episode(1.0)])
    assert judge.sizes == [1]
    assert (empty.step_rewards, empty.scores, full.scores) == ((), (), (0.5,))


@pytest.mark.parametrize("scores", [(0.5,), (0.5, 1.01), (0.5, -0.01), (0.5, math.nan), (0.5, math.inf), (0.5, 0.5, 0.5)])
def test_bad_scores_are_a_failure_and_never_repaired(scores):
    (breakdown,) = RewardPipeline(Scripted([ok(*scores)]), retries=0).reward([episode(0.0, 1.0)])
    assert breakdown.status is JudgeStatus.UNPARSABLE
    assert breakdown.scores is None
    assert breakdown.calibrated is None
    assert breakdown.step_rewards == (0.0, 1.0)
    assert "core" in breakdown.judge["message"]


def test_scores_beside_a_failure_status_are_not_used():
    result = JudgeResult(status=JudgeStatus.REFUSED, scores=(0.5,))
    (breakdown,) = RewardPipeline(Scripted([result]), retries=0).reward([episode(1.0)])
    assert (breakdown.status, breakdown.scores) == (JudgeStatus.UNPARSABLE, None)


def test_reasons_for_other_turns_are_a_failure():
    (breakdown,) = RewardPipeline(Scripted([ok(0.5, 0.5, reasons=("why",))]), retries=0).reward([episode(0.0, 1.0)])
    assert breakdown.status is JudgeStatus.UNPARSABLE
    assert breakdown.judge["message"] == "There are 1 reasons for 2 turns."
    assert "reasons" not in breakdown.judge


def test_ok_without_scores_is_a_failure():
    (breakdown,) = RewardPipeline(Scripted([JudgeResult()]), retries=0).reward([episode(1.0)])
    assert breakdown.status is JudgeStatus.UNPARSABLE


@pytest.mark.parametrize("answer", [[ok(0.5)], JudgeError("The server is down.")])
def test_a_judge_that_breaks_down_fails_every_episode(answer):
    breakdowns = RewardPipeline(Scripted(answer), retries=0).reward([episode(1.0), episode(0.0)])
    assert [breakdown.status for breakdown in breakdowns] == [JudgeStatus.ERROR] * 2


def test_only_failed_episodes_are_judged_again_and_costs_add_up():
    judge = Scripted([ok(0.1), failed(calls=1, tokens=5, seconds=2.0)], [ok(0.2, calls=1, tokens=7, seconds=1.0, cost=0.5)])
    first, second = RewardPipeline(judge, retries=1).reward([episode(0.0), episode(1.0)])
    assert judge.sizes == [2, 1]
    assert (first.scores, second.scores) == ((0.1,), (0.2,))
    assert second.judge == {"name": "scripted", "calls": 2, "tokens": 12, "seconds": 3.0, "cost": 0.5}


def test_a_refusal_is_not_asked_again():
    judge = Scripted([failed(JudgeStatus.REFUSED)])
    (breakdown,) = RewardPipeline(judge, retries=3).reward([episode(1.0)])
    assert judge.sizes == [1]
    assert breakdown.status is JudgeStatus.REFUSED


def test_a_failure_can_be_made_an_error():
    with pytest.raises(JudgeError, match=r"'scripted' gave no scores \(timeout: no message\). Set on_judge_failure"):
        RewardPipeline(Scripted([failed()]), on_judge_failure="raise", retries=0).reward([episode(1.0)])


def test_too_many_failures_in_a_row_raise():
    pipeline = RewardPipeline(Scripted([failed()] * 2, [failed()]), max_failures=3, retries=0)
    pipeline.reward([episode(1.0)] * 2)
    with pytest.raises(JudgeError, match="failed 3 times in a row"):
        pipeline.reward([episode(1.0)])


def test_a_success_ends_the_row_of_failures():
    pipeline = RewardPipeline(Scripted([failed(), ok(0.5), failed()]), max_failures=2, retries=0)
    pipeline.reward([episode(1.0)] * 3)
    assert (pipeline.judged, dict(pipeline.failed)) == (1, {"timeout": 2})


def test_no_episode_is_paid_by_what_it_taught():
    pipeline = RewardPipeline("oracle")
    episodes = [episode(0.0, 1.0), episode(0.0, 0.0)] * 20
    first = pipeline.reward(episodes)
    assert all(breakdown.calibrated == (0.0, 0.0) for breakdown in first)
    pipeline.learn(episodes, first)
    assert pipeline.reward(episodes)[0].calibrated != (0.0, 0.0)


def test_a_failed_episode_teaches_nothing():
    pipeline = RewardPipeline(Scripted([failed()]), retries=0)
    pipeline.learn([episode(1.0)], pipeline.reward([episode(1.0)]))
    assert pipeline.calibrator.state_dict() == {"episodes": []}


def test_the_state_is_restored_from_json():
    pipeline, restored = (RewardPipeline("oracle") for _ in range(2))
    episodes = [episode(0.0, 1.0), episode(0.0, 0.0)] * 20
    pipeline.learn(episodes, pipeline.reward(episodes))
    restored.load_state_dict(json.loads(json.dumps(pipeline.state_dict())))
    assert restored.state_dict() == pipeline.state_dict()
    assert restored.reward(episodes) == pipeline.reward(episodes)


@pytest.mark.parametrize("state", [{}, {"judged": 1, "failed": {}, "failures_in_a_row": 0}, {"calibrator": {}}])
def test_a_state_of_something_else_is_refused(state):
    with pytest.raises(CheckpointError, match="reward pipeline"):
        RewardPipeline().load_state_dict(state)


@pytest.mark.parametrize(
    "options",
    [{"w_env": math.nan}, {"w_hindsight": math.inf}, {"on_judge_failure": "ignore"}, {"retries": -1}, {"max_failures": 0}],
)
def test_settings_out_of_range_are_refused(options):
    with pytest.raises(ConfigError):
        RewardPipeline(**options)


def test_mixing_without_scores_is_the_environment_alone():
    assert mix([0.0, 1.0], None, w_env=2.0, w_hindsight=9.0) == (0.0, 2.0)
