"""The command line on real games, and bad input that only they can give."""

import io
from pathlib import Path

import pytest

from mise_gym.cli import main
from mise_gym.trajectories import read_episodes

pytestmark = pytest.mark.integration

FTWP = ["play", "mise/FTWP-v0", "--seed", "0", "--setting", "num_games=2"]


def feed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_a_cooking_game_can_be_played_and_taken_back(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    feed(monkeypatch, "examine cookbook\nopen fridge\n/undo\n/commands\n")

    assert main(FTWP) == 0

    shown = capsys.readouterr().out
    assert "turn 2" in shown
    assert "Took the last turn back." in shown
    assert "\nopen fridge\n" in shown.partition("/commands")[2]


def test_a_played_game_is_recorded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    feed(monkeypatch, "examine cookbook\n")

    assert main([*FTWP, "--record", str(tmp_path / "e.jsonl")]) == 0

    (episode,) = read_episodes(tmp_path / "e.jsonl")
    assert episode.split == "train"
    assert episode.transitions[0].valid_action


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--option", "split=tests"], "Did you mean 'test'?"),
        (["--setting", "split=tests"], "Did you mean 'test'?"),
        (["--option", "gane=1"], "Did you mean 'game'?"),
        (["--setting", "level=recipe9"], "recipe must be one of"),
        (["--setting", "leval=demo"], "Did you mean 'level'?"),
        (["--option", "game=99"], "99"),
    ],
)
def test_a_wrong_choice_is_answered_with_one_sentence(
    capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    assert main([*FTWP, *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("mise-gym: ")
    assert error.count("\n") == 1
    assert sentence in error


@pytest.mark.parametrize("content", [b"", b"not a game", bytes([8]) + bytes(100)], ids=["empty", "text", "truncated"])
def test_a_file_that_is_not_a_game_is_answered_with_one_sentence(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, content: bytes
) -> None:
    game = tmp_path / "game.z8"
    game.write_bytes(content)

    assert main(["play", "mise/TextWorld-v0", "--setting", f"games={game}"]) == 2

    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "game.z8" in error
