"""EpisodeRecorder: what becomes of the five-tuples of an episode."""

import numpy as np
import pytest

from mise_gym.errors import ConfigError
from mise_gym.recorder import EpisodeRecorder, Step
from mise_gym.types import Transition

INFO = {"task": "Leave.", "task_id": "hut-1", "split": "valid", "progress": 0.25, "success": False}


def step(text: str = "Out.", reward: float = 1.0, terminated: bool = False, truncated: bool = False, **info: object) -> Step:
    return text, reward, terminated, truncated, info


def test_a_turn_is_what_was_seen_done_and_came_back() -> None:
    recorder = EpisodeRecorder("A hut.", INFO)

    recorder.record("go out", step(progress=0.5, valid_action=False))

    assert recorder.episode().transitions == (
        Transition(observation="A hut.", action="go out", reward=1.0, next_observation="Out.", progress=0.5, valid_action=False),
    )


def test_the_next_turn_begins_with_what_came_back() -> None:
    recorder = EpisodeRecorder("A hut.", INFO)

    recorder.record("go out", step("Rain."))
    recorder.record("go in", step("A hut."))

    assert [turn.observation for turn in recorder.episode().transitions] == ["A hut.", "Rain."]
    assert recorder.observation == "A hut."


def test_facts_that_a_step_leaves_out_stay_as_they_were() -> None:
    recorder = EpisodeRecorder("A hut.", INFO)

    recorder.record("wait", step(progress=0.75))

    episode = recorder.episode()
    assert (episode.task, episode.task_id, episode.split, episode.progress) == ("Leave.", "hut-1", "valid", 0.75)


@pytest.mark.parametrize(("terminated", "truncated"), [(True, False), (False, True), (True, True), (False, False)])
def test_the_end_is_kept_as_it_was_told(terminated: bool, truncated: bool) -> None:
    recorder = EpisodeRecorder("A hut.", INFO)

    recorder.record("wait", step(terminated=np.bool_(terminated), truncated=np.bool_(truncated)))

    assert (recorder.episode().terminated, recorder.episode().truncated) == (terminated, truncated)
    assert recorder.is_done == (terminated or truncated)


@pytest.mark.parametrize(("rewards", "outcome"), [((0.2, 0.3), 0.5), ((2.0, 1.0), 1.0), ((-1.0, 0.5), 0.0)])
def test_without_progress_the_outcome_is_the_limited_sum_of_rewards(rewards: tuple[float, ...], outcome: float) -> None:
    recorder = EpisodeRecorder("A hut.", {})

    for reward in rewards:
        recorder.record("wait", step(reward=reward))

    assert recorder.episode().progress == outcome
    assert recorder.episode().success == (outcome == 1.0)


def test_an_episode_does_not_change_when_the_recording_goes_on() -> None:
    recorder = EpisodeRecorder("A hut.", INFO, seed=7, extra={"options": {"game": 3}})
    recorder.record("wait", step())
    early = recorder.episode()

    recorder.record("wait", step(terminated=True))

    assert (len(early), early.terminated, early.seed, early.extra) == (1, False, 7, {"options": {"game": 3}})
    assert len(recorder) == 2


def test_strings_of_numpy_become_plain_ones() -> None:
    recorder = EpisodeRecorder(np.str_("A hut."), INFO)

    recorder.record(np.str_("wait"), step(np.str_("Rain.")))

    (turn,) = recorder.episode().transitions
    assert {type(turn.observation), type(turn.action), type(turn.next_observation)} == {str}


def test_a_first_observation_of_numbers_is_refused() -> None:
    with pytest.raises(ConfigError, match="the observation is of type ndarray"):
        EpisodeRecorder(np.zeros(3), INFO)  # type: ignore[arg-type]  # the mistake under test


def test_an_action_of_numbers_is_refused() -> None:
    with pytest.raises(ConfigError, match="the action is of type int"):
        EpisodeRecorder("A hut.", INFO).record(3, step())  # type: ignore[arg-type]  # the mistake under test
