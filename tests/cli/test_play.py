"""``mise-gym play`` through a pipe, on a corridor that needs no simulator."""

import io
from pathlib import Path

import pytest

from mise_gym.cli import main
from mise_gym.trajectories import read_episodes

CORRIDOR = "tests.corridor:tests/Corridor-v0"


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def run(lines: str, *words: str) -> str:
        monkeypatch.setattr("sys.stdin", io.StringIO(lines))
        assert main(["play", CORRIDOR, "--seed", "1", "--option", "length=3", *words]) == 0
        return capsys.readouterr().out

    return run


def test_the_task_the_world_and_the_score_are_shown(play) -> None:
    assert play("go east\n").splitlines() == [
        "corridor-3 · seed 1 · /help lists the commands",
        "Task: Reach {the} exit.",
        "",
        "Room 0 of 3.",
        "[turn 0 · score 0 of 3 · progress 0%]",
        "",
        "> go east",
        "Room 1 of 3.",
        "[turn 1 · score 1 of 3 · progress 33%]",
        "",
        "> ",
    ]


def test_winning_is_announced_and_ends_the_turns(play) -> None:
    shown = play("go east\ngo east\ngo east\ngo east\n")

    assert "You won!" in shown
    assert "The episode is over. /undo, /restart or /quit." in shown
    assert "turn 4" not in shown


def test_the_step_limit_is_announced(play) -> None:
    assert "The step limit ended the episode." in play("wait\n" * 12)


def test_admissible_commands_are_shown_on_request_only(play) -> None:
    assert "wait" not in play("/quit\n")
    assert "go east\nwait\n" in play("/commands\n")


def test_admissible_commands_can_be_searched(play) -> None:
    shown = play("/commands east\n/commands fly\n")

    assert "wait" not in shown
    assert "/commands east\ngo east\n" in shown
    assert "There is none with 'fly' in it." in shown


def test_undo_takes_the_last_turn_back(play) -> None:
    shown = play("go east\ngo east\n/undo\n")

    assert shown.endswith("Took the last turn back.\nRoom 1 of 3.\n[turn 1 · score 1 of 3 · progress 33%]\n\n> \n")


def test_undo_reopens_a_finished_episode(play) -> None:
    assert "turn 3 · score 2 of 3" in play("go east\ngo east\ngo east\n/undo\nwait\n")


def test_undo_at_the_start_says_so(play) -> None:
    assert "nothing to take back" in play("/undo\n")


def test_restart_begins_the_same_game_again(play) -> None:
    assert play("go east\n/restart\n").count("Room 0 of 3.") == 2


def test_a_blank_line_costs_no_turn(play) -> None:
    assert "turn 1" not in play("\n\n")


def test_an_unknown_slash_command_costs_no_turn(play) -> None:
    shown = play("/dance\n")

    assert "There is no /dance. /help lists the commands." in shown
    assert "turn 1" not in shown


def test_help_and_the_task_are_shown_on_request(play) -> None:
    shown = play("/help\n/task\n")

    assert "take the last turn back" in shown
    assert shown.count("Reach {the} exit.") == 2


def test_a_turn_that_was_not_understood_says_so(play) -> None:
    assert "not understood" in play("dance\n")


def test_recorded_episodes_hold_what_was_played_without_undone_turns(play, tmp_path: Path) -> None:
    shown = play("wait\n/undo\ngo east\n/restart\ngo east\ngo east\ngo east\n/quit\n", "--record", str(tmp_path / "e.jsonl"))

    assert shown.endswith(f"To check it: mise-gym replay {tmp_path / 'e.jsonl'}\n")
    first, second = read_episodes(tmp_path / "e.jsonl")
    assert [turn.action for turn in first.transitions] == ["go east"]
    assert (first.terminated, first.truncated) == (False, False)
    assert (second.success, second.seed, second.extra["options"]) == (True, 1, {"length": 3})


def test_no_escape_codes_go_through_a_pipe(play) -> None:
    assert "\x1b" not in play("go east\n/commands\n")
