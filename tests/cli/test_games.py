"""``mise-gym games``."""

from pathlib import Path

import pytest

from mise_gym.cli import main

LEVEL = "recipe1+take1+cook+cut+open"


def make(folder: Path, *words: str) -> int:
    return main(["games", "make", str(folder), "--level", LEVEL, "--train", "1", "--valid", "1", "--test", "0", *words])


@pytest.mark.integration
def test_a_set_is_made_listed_and_verified(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "set"

    assert make(folder, "--processes", "1") == 0
    assert "1 train, 1 valid games of tw-cooking recipe1+take1+cook+cut+open, seed 0." in capsys.readouterr().out
    assert main(["games", "list", str(folder)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"train  tw-cooking {LEVEL}       1",
        f"valid  tw-cooking {LEVEL}       1",
    ]
    assert main(["games", "verify", str(folder)]) == 0
    assert capsys.readouterr().out == f"{str(folder)!r}: all as listed.\n"


@pytest.mark.integration
def test_what_differs_is_shown_and_changes_the_exit_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path / "set")
    next((tmp_path / "set" / "train").glob("*.z8")).unlink()
    capsys.readouterr()

    assert main(["games", "verify", str(tmp_path / "set"), "--against", str(tmp_path / "set")]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith(".z8 is missing.")
    assert lines[-1].endswith(": differences: 1.")


def test_games_with_other_names_are_listed_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "my-own.z8").touch()

    assert main(["games", "list", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "train  my-own       1\n"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["make", "x", "--level", "esay"], "Did you mean 'easy'?"),
        (["make", "x", "--challenge", "tw-simpel"], "Did you mean 'tw-simple'?"),
        (["make", "x", "--challenge", "tw-simple", "--setting", "reward=dense"], "Did you mean 'rewards'?"),
        (["make", "x", "--train", "-1"], "--train is -1; it must be 0 or more."),
        (["make", "x", "--train", "0", "--valid", "0", "--test", "0"], "No games are asked for."),
        (["make", "x", "--processes", "0"], "0 processes are asked for"),
        (["make", "x", "--seed", "-2"], "The seed is -2"),
        (["list", "nowhere"], "There is no game at"),
        (["verify", "nowhere"], "There is no list of hashes at 'nowhere'"),
    ],
)
def test_bad_input_is_answered_with_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)

    assert main(["games", *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("mise-gym: ")
    assert error.count("\n") == 1
    assert sentence in error
    assert list(tmp_path.iterdir()) == []
