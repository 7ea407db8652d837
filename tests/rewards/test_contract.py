"""What every judge and every calibrator in the tables must do."""

import json
import pickle

import numpy as np
import pytest

from mise_gym.errors import ConfigError, UnknownNameError
from mise_gym.rewards import CALIBRATORS, JUDGES, JudgeStatus, make_calibrator, make_judge
from mise_gym.rewards.judges.self_evaluation import SelfEvaluation
from mise_gym.rewards.rehearsal import RehearsalServer
from mise_gym.types import Episode, Transition
from tests.rewards.tiny_judge import untrained_folder


class HalfSure:
    def self_evaluate(self, episodes):
        return [SelfEvaluation(np.full(len(episode), 0.5)) for episode in episodes]


NEEDED = {
    "self": {"evaluator": HalfSure()},
    "ensemble": {"judges": ["heuristic", "oracle"]},
    "transformers": {"model": untrained_folder()},
}


@pytest.fixture(scope="module", autouse=True)
def endpoint():
    """The judges behind an endpoint find it in the environment."""
    with RehearsalServer() as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_BASE_URL", server.base_url)
        patch.setenv("OPENAI_MODEL", "rehearsal")
        yield


def episode(*texts, success=True):
    turns = [
        Transition(observation=before, action=f"do {after}", reward=0.0, next_observation=after, progress=index / len(texts))
        for index, (before, after) in enumerate(zip(("start", *texts), texts, strict=False))
    ]
    return Episode(
        task="Find the golden key.",
        transitions=tuple(turns),
        progress=float(success),
        success=success,
        terminated=True,
        truncated=False,
        extra={"self_evaluation": {"scores": [0.5] * len(turns)}},
    )


EPISODES = [episode("a key", "a door", "a door"), episode("You can't go that way.", success=False), episode()]


@pytest.mark.parametrize("name", JUDGES)
def test_a_judge_gives_one_score_in_the_unit_interval_per_turn(name):
    results = make_judge(name, NEEDED.get(name)).judge(EPISODES)
    assert [result.status for result in results] == [JudgeStatus.OK] * 3
    assert [len(result.scores) for result in results] == [3, 1, 0]
    assert all(0 <= score <= 1 for result in results for score in result.scores)


@pytest.mark.parametrize("name", JUDGES)
def test_a_judge_has_a_name_and_survives_pickling(name):
    judge = make_judge(name, NEEDED.get(name))
    copy = pickle.loads(pickle.dumps(judge))
    assert copy.name == judge.name != ""


@pytest.mark.parametrize("name", [name for name in JUDGES if name != "noisy"])
def test_a_judge_says_the_same_of_the_same_episode(name):
    judge = make_judge(name, NEEDED.get(name))
    first, second = judge.judge(EPISODES), judge.judge(EPISODES)
    assert [result.scores for result in first] == [result.scores for result in second]


@pytest.mark.parametrize("name", CALIBRATORS)
def test_a_calibrator_keeps_the_shape_and_its_input(name):
    scores = np.array([0.1, 0.9, 0.9])
    rewards = make_calibrator(name)(scores)
    assert rewards.shape == (3,)
    assert rewards.dtype == np.float64
    assert rewards is not scores
    assert scores.tolist() == [0.1, 0.9, 0.9]


@pytest.mark.parametrize("name", CALIBRATORS)
def test_a_calibrator_takes_an_episode_without_turns(name):
    calibrator = make_calibrator(name)
    calibrator.update([], 1.0)
    assert calibrator(np.array([])).shape == (0,)


@pytest.mark.parametrize("name", CALIBRATORS)
def test_a_calibrator_is_restored_exactly_from_json(name):
    rng = np.random.default_rng(0)
    calibrator, restored = make_calibrator(name), make_calibrator(name)
    for _ in range(60):
        scores = rng.random(5)
        calibrator.update(scores.tolist(), float(scores.mean()))
    restored.load_state_dict(json.loads(json.dumps(calibrator.state_dict())))
    grid = np.linspace(0, 1, 101)
    assert (restored(grid) == calibrator(grid)).all()


def test_auto_is_the_heuristic_judge():
    assert make_judge("auto").name == "heuristic"


def test_a_misspelt_judge_is_answered_with_the_nearest_name():
    with pytest.raises(UnknownNameError, match=r"No judge named 'orcale'. Did you mean 'oracle'"):
        make_judge("orcale")


def test_a_misspelt_calibrator_is_answered_with_the_nearest_name():
    with pytest.raises(UnknownNameError, match="Did you mean 'outcome'"):
        make_calibrator("outcom")


def test_a_judge_inside_a_judge_is_looked_up_too():
    with pytest.raises(UnknownNameError, match="Did you mean 'oracle'"):
        make_judge("flipped", {"judge": "oracel"})


def test_an_unknown_argument_is_answered_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"unexpected keyword argument 'scroe'. It takes: score"):
        make_judge("constant", {"scroe": 0.5})


def test_the_self_judge_by_name_says_to_pass_the_policy():
    with pytest.raises(ConfigError, match=r"Pass judge=SelfEvaluationJudge\(policy\)"):
        make_judge("self")


def test_a_plug_in_needs_no_row():
    assert make_judge("mise_gym.rewards.judges.constant:ConstantJudge", {"score": 0.25}).score == 0.25


def test_a_plug_in_that_is_not_a_class_is_refused():
    with pytest.raises(ConfigError, match="not a class"):
        make_judge("os:name")


def test_a_plug_in_that_is_not_a_judge_is_refused():
    with pytest.raises(ConfigError, match="is not a judge: it has no method 'judge'"):
        make_judge("builtins:object")


def test_a_live_judge_is_used_as_it_is():
    judge = make_judge("oracle")
    assert make_judge(judge) is judge


def test_arguments_beside_a_live_calibrator_are_refused():
    with pytest.raises(ConfigError, match="Give them to its constructor"):
        make_calibrator(make_calibrator("outcome"), {"window": 3})
