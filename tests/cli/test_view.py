"""The command ``view``: what a person sees of recorded episodes."""

from dataclasses import replace
from pathlib import Path

import pytest

from mise_gym.cli import main
from mise_gym.cli.terminal import visible
from mise_gym.trajectories import write_episodes
from mise_gym.types import Episode, Transition

HOSTILE = "look \x1b[2J\x1b]0;owned\x07 \ud800 \u202e done"


def episode(action: str, *, won: bool, labels: dict[str, object] | None = None) -> Episode:
    turn = Transition(observation="A hall.", action=action, reward=float(won), next_observation="Then this.", valid_action=won)
    extra = {} if labels is None else {"mise": labels}
    return Episode(
        task="Leave.", transitions=(turn,), progress=float(won), success=won, terminated=won, truncated=not won, extra=extra
    )


LABELS = {
    "env_rewards": [1.0],
    "scores": [0.83],
    "calibrated": [0.5],
    "step_rewards": [1.125],
    "status": "ok",
    "judge": {"name": "wise", "belief": 0.25, "reasons": ["It found the door."]},
}
FAILED = {
    "env_rewards": [0.0],
    "scores": None,
    "calibrated": None,
    "step_rewards": [0.0],
    "status": "timeout",
    "judge": {"name": "w"},
}


@pytest.fixture
def file(tmp_path: Path) -> str:
    episodes = [
        episode("go east", won=True, labels=LABELS),
        episode(HOSTILE, won=False, labels=FAILED),
        episode("wait", won=False),
    ]
    write_episodes(tmp_path / "e.jsonl", episodes)
    return str(tmp_path / "e.jsonl")


def test_a_turn_shows_its_score_its_rewards_and_the_reason(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["view", file, "--episode", "1"]) == 0

    shown = capsys.readouterr().out
    assert "  1 [0.83] > go east\n" in shown
    assert "e +1.00  c(s) +0.50  r +1.12 · It found the door." in shown
    assert "episode 1 · won · progress 100% · 1 turns · mean score 0.83" in shown
    assert "judge wise · belief 0.25 · environment +1.00" in shown


def test_without_a_terminal_there_are_no_colours(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["view", file])

    assert "\x1b" not in capsys.readouterr().out


def test_colours_can_be_had_for_a_pager(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["view", file, "--colour", "always", "--episode", "1"])

    assert "\x1b[38;5;40m████████░░ [0.83]\x1b[0m > go east" in capsys.readouterr().out


def test_a_judge_that_failed_is_said(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["view", file, "--episode", "2"])

    assert "judge w: no scores, timeout." in capsys.readouterr().out


def test_text_cannot_command_the_terminal(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["view", file, "--episode", "2"])

    assert r"> look \x1b[2J\x1b]0;owned\x07 \ud800 \u202e done" in capsys.readouterr().out


def test_visible_text_stays_as_it_is() -> None:
    assert visible("Ein Käse,\n\tbitte 🧀.") == "Ein Käse,\n\tbitte 🧀."


def test_only_failures(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["view", file, "--failures", "--list"]) == 0

    assert [line.partition(" ·")[0] for line in capsys.readouterr().out.splitlines()] == ["episode 2", "episode 3"]


def test_an_episode_without_labels_is_shown_too(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["view", file, "--episode", "3"]) == 0

    assert "  1 > wait\n    not understood\nThen this." in capsys.readouterr().out


def test_an_episode_that_is_not_there_is_answered_with_one_sentence(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["view", file, "--episode", "9"]) == 2

    assert "has no such episode" in capsys.readouterr().err


def test_what_the_policy_wrote_stands_above_the_action_where_it_is_more(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    played = episode("go east", won=True)
    written = [{"text": "The door is east.\nAction: go east", "ids": [1, 2], "is_malformed": False}]
    write_episodes(tmp_path / "e.jsonl", [replace(played, extra={"written": written})])

    assert main(["view", str(tmp_path / "e.jsonl")]) == 0

    assert "The door is east.\nAction: go east\n  1 > go east\n" in capsys.readouterr().out
