"""relabel: the whole file, whatever happens on the way."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from mise_gym.errors import ConfigError, JudgeError, TrajectoryFormatError, UnknownNameError
from mise_gym.rewards import JudgeStatus, make_calibrator
from mise_gym.rewards.labels import labels_of
from mise_gym.rewards.relabel import FOLDS, RelabelConfig, relabel
from mise_gym.trajectories import read_episodes, write_episodes
from mise_gym.types import Episode, Transition

ROOT = Path(__file__).parents[2]
HERE = "tests.rewards.slow_judge"


def episodes(number):
    """Episodes of one to four turns; every third is won, and its texts are new, which the heuristic judge likes."""
    made = []
    for index in range(number):
        won = index % 3 == 0
        texts = [f"text {turn if won else 0}" for turn in range(1 + index % 4)]
        turns = tuple(
            Transition(
                observation="start", action=f"do {index}", reward=float(won and turn == len(texts) - 1), next_observation=text
            )
            for turn, text in enumerate(texts)
        )
        made.append(
            Episode(
                task="t",
                transitions=turns,
                progress=float(won),
                success=won,
                terminated=won,
                truncated=not won,
                task_id=str(index),
                extra={"kept": index},
            )
        )
    return made


@pytest.fixture
def source(tmp_path):
    write_episodes(tmp_path / "in.jsonl", episodes(40))
    return tmp_path / "in.jsonl"


@pytest.fixture
def target(tmp_path):
    return tmp_path / "out.jsonl.gz"


def rewards(path):
    return [labels_of(episode).step_rewards for episode in read_episodes(path)]


def test_every_episode_gets_labels_and_stays_what_it_was(source, target):
    counts = relabel(source, target, RelabelConfig(judge="heuristic"))

    found = list(read_episodes(target))
    assert [replace(episode, extra={"kept": episode.extra["kept"]}) for episode in found] == episodes(40)
    assert all(labels_of(episode).status is JudgeStatus.OK for episode in found)
    assert (counts.episodes, counts.turns, counts.asked, counts.failed) == (40, sum(map(len, found)), 40, {})


def test_an_episode_is_paid_by_what_the_other_parts_of_the_file_say(source, target):
    relabel(source, target, RelabelConfig(judge="heuristic", w_hindsight=0.5))
    found = list(read_episodes(target))

    for number, episode in enumerate(found):
        calibrator = make_calibrator("outcome")
        for other, taught in enumerate(found):
            if other % FOLDS != number % FOLDS:
                calibrator.update(labels_of(taught).scores, taught.progress)
        expected = calibrator(np.array(labels_of(episode).scores))
        assert labels_of(episode).calibrated == pytest.approx(expected.tolist())
        env = [turn.reward for turn in episode.transitions]
        assert labels_of(episode).step_rewards == pytest.approx((np.array(env) + 0.5 * expected).tolist())


def test_the_size_of_a_batch_changes_nothing(source, target, tmp_path):
    relabel(source, target, RelabelConfig(judge="heuristic", batch=7))
    relabel(source, tmp_path / "other.jsonl", RelabelConfig(judge="heuristic", batch=64))

    assert list(read_episodes(target)) == list(read_episodes(tmp_path / "other.jsonl"))


@pytest.mark.slow
def test_a_killed_relabelling_is_continued_to_the_same_file(source, target, tmp_path):
    program = (
        "from pathlib import Path; from mise_gym.rewards.relabel import RelabelConfig, relabel; "
        f"relabel(Path({str(source)!r}), Path({str(target)!r}), RelabelConfig(judge='{HERE}:StuckJudge', batch=2))"
    )
    judging = target.with_name(f"judging-{target.name}")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "STUCK": "14"}
    with subprocess.Popen([sys.executable, "-c", program], env=environment) as process:
        while process.poll() is None and not (judging.exists() and len(list(read_episodes(judging))) == 14):
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    os.truncate(judging, judging.stat().st_size - 5)  # as if it had been killed while it wrote the last of the 14 episodes
    assert not target.exists()

    counts = relabel(source, target, RelabelConfig(judge=f"{HERE}:StuckJudge", batch=2))

    assert counts.asked == 40 - 13
    relabel(source, tmp_path / "at_once.jsonl", RelabelConfig(judge=f"{HERE}:StuckJudge"))
    assert rewards(target) == rewards(tmp_path / "at_once.jsonl")
    assert not judging.exists()


def test_episodes_that_failed_are_counted_and_asked_about_again(source, target, monkeypatch):
    config = RelabelConfig(judge=f"{HERE}:MoodyJudge")
    monkeypatch.setattr("tests.rewards.slow_judge.MoodyJudge.mood", "bad")
    first = relabel(source, target, config)
    failed = [episode for episode in read_episodes(target) if labels_of(episode).scores is None]
    assert first.failed == {"timeout": 13} == {"timeout": len(failed)}
    assert all(labels_of(episode).step_rewards == labels_of(episode).env_rewards for episode in failed)

    monkeypatch.setattr("tests.rewards.slow_judge.MoodyJudge.mood", "good")
    second = relabel(source, target, config)

    assert (second.asked, second.failed, second.episodes) == (13, {}, 40)


def test_only_new_episodes_are_asked_about(source, target):
    relabel(source, target, RelabelConfig(judge="heuristic"))
    write_episodes(source, episodes(45))

    counts = relabel(source, target, RelabelConfig(judge="heuristic"))

    assert (counts.asked, counts.episodes) == (5, 45)


def test_an_episode_that_has_changed_is_asked_about_again(source, target):
    relabel(source, target, RelabelConfig(judge="heuristic"))
    changed = episodes(40)
    changed[7] = replace(changed[7], task="another goal")
    write_episodes(source, changed)

    counts = relabel(source, target, RelabelConfig(judge="heuristic"))

    assert counts.asked == 1
    assert list(read_episodes(target))[7].task == "another goal"


def test_recorded_scores_can_be_calibrated_anew(source, target, tmp_path):
    relabel(source, target, RelabelConfig(judge="heuristic"))
    relabel(target, tmp_path / "centred.jsonl", RelabelConfig(judge="recorded", calibrator="centred", w_hindsight=1.0))

    for before, after in zip(read_episodes(target), read_episodes(tmp_path / "centred.jsonl"), strict=True):
        assert labels_of(after).scores == labels_of(before).scores
        assert labels_of(after).calibrated == pytest.approx([2 * score - 1 for score in labels_of(before).scores])


def test_another_judge_does_not_overwrite_what_is_there(source, target):
    relabel(source, target, RelabelConfig(judge="heuristic"))

    with pytest.raises(ConfigError, match="was not written by the judge 'constant'"):
        relabel(source, target, RelabelConfig(judge="constant"))


def test_a_file_is_not_relabelled_onto_itself(source):
    with pytest.raises(ConfigError, match="Choose another name"):
        relabel(source, source, RelabelConfig())


def test_a_damaged_source_is_found_before_the_judge_is_asked(source, target):
    with source.open("a") as file:
        file.write("{}\n")

    with pytest.raises(TrajectoryFormatError, match="Line 41"):
        relabel(source, target, RelabelConfig(judge=f"{HERE}:NeverAsked"))


def test_a_misspelt_calibrator_is_found_before_the_judge_is_asked(source, target):
    with pytest.raises(UnknownNameError, match="Did you mean 'outcome'"):
        relabel(source, target, RelabelConfig(judge=f"{HERE}:NeverAsked", calibrator="outcom"))


def test_a_broken_judge_stops_it_and_keeps_what_is_judged(tmp_path, target, monkeypatch):
    write_episodes(tmp_path / "in.jsonl", episodes(150))
    monkeypatch.setattr("tests.rewards.slow_judge.MoodyJudge.mood", "dead")

    with pytest.raises(JudgeError, match="100 times in a row"):
        relabel(tmp_path / "in.jsonl", target, RelabelConfig(judge=f"{HERE}:MoodyJudge", batch=10))

    assert len(list(read_episodes(target.with_name(f"judging-{target.name}")))) == 90


def test_a_judge_with_connections_is_closed(source, target, monkeypatch):
    monkeypatch.setattr("tests.rewards.slow_judge.Connected.closed", 0)
    relabel(source, target, RelabelConfig(judge=f"{HERE}:Connected"))

    assert import_module(HERE).Connected.closed == 1


def test_progress_is_told_for_every_episode(source, target):
    told = []
    relabel(source, target, RelabelConfig(judge="heuristic", batch=16), told.append)

    assert told == [0, 16, 16, 8]
