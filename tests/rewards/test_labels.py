"""Labels: how scores and rewards are kept with a recorded episode."""

import gymnasium as gym
import pytest

from mise_gym.envs.wrappers import RecordTrajectories
from mise_gym.errors import TrajectoryFormatError
from mise_gym.rewards import JudgeResult, JudgeStatus, MISERewardWrapper, RewardPipeline
from mise_gym.rewards.labels import labels_of, with_labels
from mise_gym.trajectories import read_episodes, write_episodes
from mise_gym.types import Episode, Transition


def episode(**extra):
    turns = tuple(Transition(observation="o", action=a, reward=0.0, next_observation="p") for a in "ab")
    return Episode(
        task="t", transitions=turns, progress=0.0, success=False, terminated=False, truncated=True, task_id="7", extra=extra
    )


class Timeout:
    name = "late"

    def judge(self, episodes):
        return [JudgeResult(status=JudgeStatus.TIMEOUT, message="Too slow.") for _ in episodes]


@pytest.mark.parametrize("judge", ["heuristic", "constant", Timeout()])
def test_labels_come_back_from_a_file_as_they_were(tmp_path, judge):
    (breakdown,) = RewardPipeline(judge, "centred").reward([episode()])
    write_episodes(tmp_path / "e.jsonl", [with_labels(episode(), breakdown)])

    (found,) = read_episodes(tmp_path / "e.jsonl")
    assert labels_of(found) == breakdown


def test_reasons_of_another_number_than_turns_are_no_answer():
    class Talkative:
        name = "talkative"

        def judge(self, episodes):
            return [JudgeResult(scores=(0.5, 0.5), reasons=("one", "two", "three")) for _ in episodes]

    (breakdown,) = RewardPipeline(Talkative(), retries=0).reward([episode()])
    assert (breakdown.status, breakdown.scores) == (JudgeStatus.UNPARSABLE, None)
    assert breakdown.judge["message"] == "There are 3 reasons for 2 turns."


def test_an_episode_without_labels_has_none():
    assert labels_of(episode()) is None


@pytest.mark.parametrize("judge", ["heuristic", Timeout()])
def test_what_the_wrapper_says_at_the_end_is_recorded_as_labels(tmp_path, corridor, judge):
    env = RecordTrajectories(MISERewardWrapper(corridor, judge=judge, calibrator="centred"), tmp_path / "e.jsonl")
    env.reset(options={"length": 2})
    env.step("go east")
    info = env.step("go east")[-1]
    env.close()

    (found,) = read_episodes(tmp_path / "e.jsonl")
    labels = labels_of(found)
    assert list(labels.scores or ()) == info["mise"]["scores"]
    assert (labels.scores is None) == (labels.status is JudgeStatus.TIMEOUT)
    assert list(labels.step_rewards) == info["mise"]["step_rewards"]


def test_a_wrapped_environment_tells_the_reasons(corridor: gym.Env[str, str]):
    env = MISERewardWrapper(corridor, judge="heuristic", delivery="step")
    env.reset(options={"length": 2})
    env.step("wait")
    env.step("go east")
    mise = env.step("go east")[-1]["mise"]

    assert mise["judge"]["reasons"] == ["known text, understood", "new text, understood", "new text, understood"]


@pytest.mark.parametrize(
    "labels",
    [
        "0.5",
        {"status": "ok", "judge": {"reasons": ["why"]}, "scores": [0.5] * 2, "env_rewards": [0.0] * 2, "step_rewards": [0.0] * 2},
        {"scores": [0.5, 0.5]},
        {"status": "ok", "judge": {}, "scores": [0.5], "env_rewards": [0.0, 0.0], "step_rewards": [0.0, 0.0]},
        {"status": "fine", "judge": {}, "scores": [0.5, 0.5], "env_rewards": [0.0, 0.0], "step_rewards": [0.0, 0.0]},
        {"status": "ok", "judge": {}, "scores": ["?", 0.5], "env_rewards": [0.0, 0.0], "step_rewards": [0.0, 0.0]},
        {"status": "ok", "judge": {"belief": "?"}, "scores": [0.5] * 2, "env_rewards": [0.0] * 2, "step_rewards": [0.0] * 2},
    ],
)
def test_labels_that_make_no_sense_are_an_error(labels):
    with pytest.raises(TrajectoryFormatError, match="The labels of an episode of task '7' cannot be read"):
        labels_of(episode(mise=labels))
