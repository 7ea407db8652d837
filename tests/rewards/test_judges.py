"""What only one judge does."""

import numpy as np
import pytest

from mise_gym.errors import ConfigError
from mise_gym.rewards import JudgeResult, JudgeStatus, SelfEvaluationJudge, make_judge
from mise_gym.rewards.judges.self_evaluation import SelfEvaluation
from mise_gym.rewards.pipeline import ask
from mise_gym.types import Episode, Transition


def episode(*turns, task="", terminated=True, success=False):
    """Each turn is (action, answer, progress) and perhaps whether the action was valid."""
    transitions, observation = [], "start"
    for action, answer, progress, *valid in turns:
        transitions.append(
            Transition(
                observation=observation,
                action=action,
                reward=0.0,
                next_observation=answer,
                progress=progress,
                valid_action=all(valid),
            )
        )
        observation = answer
    return Episode(
        task=task,
        transitions=tuple(transitions),
        progress=transitions[-1].progress,
        success=success,
        terminated=terminated,
        truncated=not terminated,
    )


def scores(judge, *episodes):
    return [result.scores for result in judge.judge(episodes)]


class Evaluator:
    def __init__(self, *scores, belief=None):
        self.said = [SelfEvaluation(np.array(each), belief) for each in scores]

    def self_evaluate(self, episodes):
        return self.said


class Refusing:
    name = "refusing"

    def judge(self, episodes):
        return [JudgeResult(status=JudgeStatus.REFUSED) for _ in episodes]


RISE_STAY_FALL = [("a", "1", 0.5), ("b", "2", 0.5), ("c", "3", 0.2)]


def test_the_oracle_reads_progress():
    assert scores(make_judge("oracle"), episode(*RISE_STAY_FALL, success=True)) == [(1.0, 0.5, 0.0)]


def test_the_oracle_blames_the_turn_that_lost():
    assert scores(make_judge("oracle"), episode(("a", "1", 0.5), ("b", "you died", 0.5))) == [(1.0, 0.0)]


def test_the_oracle_does_not_blame_a_time_limit():
    assert scores(make_judge("oracle"), episode(("a", "1", 0.5), ("b", "2", 0.5), terminated=False)) == [(1.0, 0.5)]


def test_flipped_says_the_opposite():
    assert scores(make_judge("flipped"), episode(*RISE_STAY_FALL, success=True)) == [(0.0, 0.5, 1.0)]


def test_flipping_twice_is_no_flip():
    judge = make_judge("flipped", {"judge": "flipped", "judge_kwargs": {"judge": "oracle"}})
    assert scores(judge, episode(*RISE_STAY_FALL, success=True)) == [(1.0, 0.5, 0.0)]
    assert judge.name == "flipped(flipped(oracle))"


def test_flipped_passes_a_failure_on():
    (result,) = make_judge("flipped", {"judge": Refusing()}).judge([episode(("a", "1", 0.0))])
    assert result == JudgeResult(status=JudgeStatus.REFUSED)


def test_no_noise_leaves_the_scores_alone():
    judge = make_judge("noisy", {"amount": 0.0})
    assert scores(judge, episode(*RISE_STAY_FALL, success=True)) == [(1.0, 0.5, 0.0)]


def test_all_noise_leaves_nothing_of_the_scores():
    many = episode(*[("a", str(turn), turn / 400) for turn in range(1, 401)], success=True)
    (noisy,) = scores(make_judge("noisy", {"amount": 1.0}), many)
    assert np.mean(noisy) == pytest.approx(0.5, abs=0.05)
    assert np.std(noisy) == pytest.approx(12**-0.5, abs=0.03)


def test_the_seed_decides_the_noise():
    same, again, other = (make_judge("noisy", {"seed": seed}) for seed in (1, 1, 2))
    one = episode(*RISE_STAY_FALL)
    assert scores(same, one) == scores(again, one) != scores(other, one)


def test_too_much_noise_is_refused():
    with pytest.raises(ConfigError, match=r"amount=1.5"):
        make_judge("noisy", {"amount": 1.5})


def test_a_constant_outside_the_unit_interval_is_refused():
    with pytest.raises(ConfigError, match="score=2"):
        make_judge("constant", {"score": 2})


def test_the_heuristic_prefers_new_text():
    first, second = scores(make_judge("heuristic"), episode(("look", "a hall", 0.0), ("look", "a hall", 0.0)))[0]
    assert first - second == pytest.approx(0.4)


def test_the_heuristic_dislikes_commands_that_were_not_understood():
    good, complaint, invalid = scores(
        make_judge("heuristic"),
        episode(("n", "a hall", 0.0), ("fly", "You can't do that.", 0.0), ("xyzzy", "Pardon?", 0.0, False)),
    )[0]
    assert good - complaint == pytest.approx(0.3)
    assert good - invalid == pytest.approx(0.3)


def test_the_heuristic_likes_words_of_the_goal_once():
    first, second, third = scores(
        make_judge("heuristic"),
        episode(("n", "a hall", 0.0), ("take golden key", "Taken.", 0.0), ("drop golden key", "Dropped.", 0.0), task="Golden!"),
    )[0]
    assert second - first == pytest.approx(0.3)
    assert third == first


def test_a_self_evaluation_becomes_scores_and_a_belief():
    judge = SelfEvaluationJudge(Evaluator(np.array([0.25, 0.5], dtype=np.float32), belief=0.125))
    (result,) = judge.judge([episode(("a", "1", 0.0), ("b", "2", 0.0))])
    assert (result.scores, result.belief) == ((0.25, 0.5), 0.125)


def test_a_flipped_belief_is_the_opposite():
    judge = make_judge("flipped", {"judge": SelfEvaluationJudge(Evaluator([0.5], belief=0.125))})
    assert [result.belief for result in judge.judge([episode(("a", "1", 0.0))])] == [0.875]


@pytest.mark.parametrize("said", [[0.5], [0.5, np.nan], [[0.5, 0.5]], [0.5, np.inf]])
def test_scores_that_are_missing_or_not_finite_are_unparsable(said):
    (result,) = SelfEvaluationJudge(Evaluator(said)).judge([episode(("a", "1", 0.0), ("b", "2", 0.0))])
    assert (result.status, result.scores) == (JudgeStatus.UNPARSABLE, None)
    assert "must give 2 finite scores" in result.message


@pytest.mark.parametrize("belief", [1.5, float("nan")])
def test_a_belief_outside_the_unit_interval_makes_the_answer_unparsable(belief):
    (result,) = ask(SelfEvaluationJudge(Evaluator([0.5], belief=belief)), [episode(("a", "1", 0.0))])
    assert (result.status, result.scores, result.belief) == (JudgeStatus.UNPARSABLE, None, None)
    assert "The belief" in result.message


def test_an_episode_that_was_not_evaluated_makes_all_errors():
    one = episode(("a", "1", 0.0))
    results = SelfEvaluationJudge(Evaluator([0.5])).judge([one, one])
    assert [result.status for result in results] == [JudgeStatus.ERROR] * 2


def test_the_cost_of_self_evaluation_is_shared_by_the_episodes():
    ticks = iter([10.0, 13.0])
    one = episode(("a", "1", 0.0))
    results = SelfEvaluationJudge(Evaluator([0.5], [0.5]), clock=lambda: next(ticks)).judge([one, one])
    assert [result.seconds for result in results] == [1.5, 1.5]
