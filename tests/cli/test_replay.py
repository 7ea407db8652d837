"""``mise-gym replay``, on a corridor that needs no simulator."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from mise_gym.cli import main
from mise_gym.envs.wrappers import ActionParser, History, RecordTrajectories, first_difference
from mise_gym.rewards import MISERewardWrapper
from mise_gym.trajectories import read_episodes

CORRIDOR = "tests.corridor:tests/Corridor-v0"
LINE = "go east"


@pytest.fixture
def recording(corridor: gym.Env[str, str], tmp_path: Path) -> Path:
    path = tmp_path / "e.jsonl"
    env = RecordTrajectories(corridor, path)
    for seed in (1, None):
        env.reset(seed=seed, options={"length": 2})
        env.step("dance")
        env.step("go east")
    env.close()
    return path


def change(path: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    """Falsify the second episode of a recording."""
    first, second = path.read_text().splitlines()
    record = json.loads(second)
    edit(record)
    path.write_text(f"{first}\n{json.dumps(record)}\n")


def test_an_exact_replay_says_how_much_was_replayed(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(recording), str(recording)]) == 0
    assert capsys.readouterr().out == "4 episodes replayed exactly (8 turns).\n"


@pytest.mark.parametrize(
    ("field", "value", "shown"),
    [
        ("next_observation", "Room 9 of 2.", "turn 2, next_observation: recorded 'Room 9 of 2.', now 'Room 1 of 2.'"),
        ("reward", 0.5, "turn 2, reward: recorded 0.5, now 0.0"),
        ("progress", 0.25, "turn 2, progress: recorded 0.25, now 0.5"),
        ("valid_action", False, "turn 2, valid_action: recorded False, now True"),
    ],
)
def test_a_falsified_turn_is_found(
    recording: Path, capsys: pytest.CaptureFixture[str], field: str, value: object, shown: str
) -> None:
    change(recording, lambda record: record["transitions"][1].update({field: value}))

    assert main(["replay", str(recording)]) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"{recording}, episode 2 (corridor-2): {shown}",
        "1 of 2 episodes came out differently.",
    ]


@pytest.mark.parametrize(("field", "value"), [("terminated", True), ("truncated", True), ("success", True), ("split", "test")])
def test_a_falsified_ending_is_found(recording: Path, capsys: pytest.CaptureFixture[str], field: str, value: object) -> None:
    change(recording, lambda record: record.update({field: value}))

    assert main(["replay", str(recording)]) == 1
    assert f"(corridor-2): {field}: recorded {value!r}, now" in capsys.readouterr().out


def test_an_episode_that_ends_sooner_is_a_difference(recording: Path) -> None:
    episode = next(read_episodes(recording))

    assert first_difference(episode, replace(episode, transitions=episode.transitions[:1])) == "turns: recorded 2, now 1"


def test_of_long_texts_the_part_that_differs_is_shown(recording: Path) -> None:
    episode = next(read_episodes(recording))
    turn = episode.transitions[0]
    long, other = ("x" * 500 + middle + "y" * 500 for middle in ("left", "right"))
    recorded, replayed = (replace(episode, transitions=(replace(turn, observation=text),)) for text in (long, other))

    found = first_difference(recorded, replayed)

    assert found is not None
    assert "left" in found.partition("now")[0]
    assert "right" in found.partition("now")[2]
    assert len(found) < 250


def test_another_task_is_a_difference(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(recording, lambda record: record.update({"task_id": "corridor-7"}))

    assert main(["replay", str(recording)]) == 1
    assert "recorded on task 'corridor-7', but reset gave 'corridor-2'" in capsys.readouterr().out


def test_the_wrappers_inside_the_recorder_are_made_again(corridor: gym.Env[str, str], tmp_path: Path) -> None:
    env = RecordTrajectories(ActionParser(History(corridor, turns=1), formats=("tag",)), tmp_path / "e.jsonl")
    env.reset(seed=1)
    env.step("<action>go east</action>")
    env.close()

    assert main(["replay", str(tmp_path / "e.jsonl")]) == 0


def test_a_step_limit_of_gymnasium_is_made_again(tmp_path: Path) -> None:
    env = RecordTrajectories(gym.make("tests/Corridor-v0", max_episode_steps=2), tmp_path / "e.jsonl")
    env.reset(seed=1)
    env.step("wait")
    env.step("wait")
    env.close()

    assert main(["replay", str(tmp_path / "e.jsonl")]) == 0


def test_a_recording_without_an_environment_is_replayed_in_the_one_that_is_named(
    recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(recording, lambda record: record["extra"].pop("environment"))

    assert main(["replay", str(recording)]) == 2
    assert "mise-gym replay FILE --id ID" in capsys.readouterr().err
    assert main(["replay", str(recording), "--id", CORRIDOR]) == 0


def forge(**changes: object) -> Callable[[dict[str, Any]], None]:
    return lambda record: record["extra"]["environment"].update(changes)


@pytest.mark.parametrize(
    ("forged", "sentence"),
    [
        (forge(id="mise/FTPW-v0"), "Did you mean 'mise/FTWP-v0'?"),
        (forge(id="this:mise/FTWP-v0"), "No environment named 'this:mise/FTWP-v0'"),
        (forge(wrappers=[["os:system", {}]]), "was recorded inside 'os:system'"),
    ],
)
def test_a_file_chooses_only_among_what_is_registered(
    recording: Path, capsys: pytest.CaptureFixture[str], forged: Callable[[dict[str, Any]], None], sentence: str
) -> None:
    change(recording, forged)

    assert main(["replay", str(recording)]) == 2
    assert sentence in capsys.readouterr().err


def test_a_file_does_not_choose_which_program_is_run(recording: Path) -> None:
    change(recording, forge(kwargs={"chromium": "/bin/evil", "chromedriver": "/bin/evil"}))

    assert main(["replay", str(recording)]) == 0


def test_a_reward_inside_the_recorder_is_refused_with_the_remedy(
    corridor: gym.Env[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    env = RecordTrajectories(MISERewardWrapper(corridor, judge="constant"), tmp_path / "e.jsonl")
    env.reset(seed=1)
    env.step("wait")
    env.close()

    assert main(["replay", str(tmp_path / "e.jsonl")]) == 2
    assert "'MISERewardWrapper'; only ActionParser, AdmissibleCommands, History" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["gone.jsonl"], "No file 'gone.jsonl'"),
        (["empty.jsonl"], "There is no episode in empty.jsonl"),
        (["empty.jsonl", "--setting", "infos=1"], "Add --id"),
        (["empty.txt"], "does not. Rename it."),
    ],
)
def test_what_cannot_be_replayed_is_answered_with_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.jsonl").touch()

    assert main(["replay", *words]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert sentence in error
