"""``mise-gym webshop build``."""

from pathlib import Path

import pytest

from mise_gym.cli import main
from tests.webshop_server.small_shop import BOOTS, TEA, write_files


def build(*words: str) -> int:
    return main(["webshop", "build", *words])


def test_files_become_a_catalogue_and_problems_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = write_files(tmp_path, [TEA, TEA, BOOTS | {"pricing": "?"}])
    out = str(tmp_path / "shop")

    assert (
        build("--items", str(files.items), "--attributes", str(files.attributes), "--human", str(files.human), "--out", out) == 0
    )
    assert capsys.readouterr().out.splitlines() == [
        f"{out!r}: 2 products, 1 human goals, 1 synthetic goals.",
        "Colour words: a list of our own. Scores equal WebShop's only with WebShop's list: --colours CHECKOUT.",
        "1 times: asin is there already (for example 'B000000003')",
        "1 times: pricing cannot be read (for example 'B000000002')",
    ]


def test_a_catalogue_can_be_generated_and_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "shop")

    assert build("--products", "8", "--out", out) == 0
    assert build("--products", "9", "--seed", "1", "--replace", "--out", out) == 0
    assert "9 products, 18 human goals" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "Give either --items FILE, to import a catalogue, or --products N, to generate one."),
        (["--items", "a", "--products", "3"], "Give either --items"),
        (["--products", "3", "--human", "x"], "--human has no effect with --products."),
        (["--items", "nowhere.json", "--seed", "1"], "--seed has no effect with --items."),
        (
            ["--items", "nowhere.json"],
            "'nowhere.json' cannot be read: No such file or directory. Check the path given for items.",
        ),
        (["--products", "0"], "it must be between 1 and 2000000."),
    ],
)
def test_bad_input_is_answered_with_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    assert build("--out", str(tmp_path / "shop"), *words) == 2
    error = capsys.readouterr().err
    assert error.startswith("mise-gym: ")
    assert error.count("\n") == 1
    assert sentence in error


def test_a_place_that_cannot_be_written_is_answered_with_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert build("--products", "3", "--out", "/proc/no/such/place") == 2
    assert "cannot be written" in capsys.readouterr().err
