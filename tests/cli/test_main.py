"""The front door: help, dispatch, and how failures look."""

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from mise_gym.cli import COMMANDS, main
from mise_gym.envs.catalog import ENVS
from mise_gym.trajectories import read_episodes

ROOT = Path(__file__).parents[2]
CORRIDOR = "tests.corridor:tests/Corridor-v0"


def mise_gym(*words: str, stdin: str = "", before: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(words, before),
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


def command(words: Sequence[str], before: str = "") -> list[str]:
    return [sys.executable, "-c", f"import sys; {before}\nfrom mise_gym.cli import main\nsys.exit(main({list(words)!r}))"]


def assert_one_sentence(done: subprocess.CompletedProcess[str], text: str) -> None:
    assert done.returncode == 2, done.stderr
    assert text in done.stderr
    assert done.stderr.startswith("mise-gym: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", COMMANDS)
def test_help_describes_every_command(capsys: pytest.CaptureFixture[str], name: str) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    assert name in capsys.readouterr().out


def test_help_loads_no_command() -> None:
    before = "import atexit; atexit.register(lambda: print([m for m in sys.modules if m.startswith('mise_gym.cli.')]))"

    assert mise_gym("--help", before=before).stdout.endswith("[]\n")


def test_a_misspelt_command_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plya"]) == 2
    known = ", ".join(sorted(COMMANDS))
    assert capsys.readouterr().err == f"mise-gym: No command named 'plya'. Did you mean 'play'? Known: {known}.\n"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["info", "mise/FTPW-v0"], "No environment named 'mise/FTPW-v0'. Did you mean 'mise/FTWP-v0'?"),
        (["play", "mise/FTPW-v0"], "No environment named 'mise/FTPW-v0'. Did you mean 'mise/FTWP-v0'?"),
        (["play", "no_such_module:x/Y-v0"], "No module 'no_such_module' to take environments from."),
        (["play", CORRIDOR, "--option", "game"], "--option 'game' is not of the form name=value."),
        (["play", CORRIDOR, "--option", "game=1", "--option", "game=2"], "--option gives 'game' twice."),
        (["play", CORRIDOR, "--setting", "inofs=1"], "Did you mean 'infos'?"),
        (["play", CORRIDOR, "--record", "episodes.txt"], "'episodes.txt' does not. Rename it."),
        (["play", CORRIDOR, "--record", "/proc/no/such/place.jsonl"], "Check the path and its permissions."),
    ],
)
def test_bad_input_is_answered_with_one_sentence(capsys: pytest.CaptureFixture[str], words: list[str], sentence: str) -> None:
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("mise-gym: ")
    assert error.count("\n") == 1
    assert sentence in error


def test_a_full_disk_is_answered_with_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "e.jsonl").symlink_to("/dev/full")

    done = mise_gym("play", CORRIDOR, "--record", str(tmp_path / "e.jsonl"), stdin="go east\n")

    assert_one_sentence(done, "The disk is full.")


def test_ctrl_c_ends_with_one_sentence_and_keeps_the_episode(tmp_path: Path) -> None:
    words = ["play", CORRIDOR, "--record", str(tmp_path / "e.jsonl")]
    with subprocess.Popen(
        command(words),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("go east\n")
        process.stdin.flush()
        assert any("turn 1" in line for line in process.stdout)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=20)

    assert process.returncode == 130
    assert error == "mise-gym: Interrupted. What was finished is saved.\n"
    assert [len(episode) for episode in read_episodes(tmp_path / "e.jsonl")] == [1]


def test_a_reader_that_goes_away_causes_no_traceback() -> None:
    done = subprocess.run(
        ["bash", "-c", f"{shlex.join(command(['list']))} | true"], capture_output=True, text=True, check=False, timeout=60
    )

    assert done.stderr == ""


def test_list_names_everything_in_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    shown = capsys.readouterr().out
    for name in ("mise/FTWP-v0", "mise/TextWorld-v0", "oracle", "outcome", "demo"):
        assert sum(line.split()[:1] == [name] for line in shown.splitlines()) == 1


def test_every_listed_name_has_a_description(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--json"]) == 0
    tables = json.loads(capsys.readouterr().out)
    assert set(tables) == {"environments", "judges", "calibrators", "levels"}
    assert all(text for table in tables.values() for text in table.values())


@pytest.mark.parametrize("env_id", [row.id for row in ENVS])
def test_info_tells_what_an_environment_takes(env_id: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", env_id, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["id"] == env_id
    assert {"max_turns", "reward_mode", "infos", "split"} <= set(facts["arguments"])
    assert {"split"} < set(facts["options"])
    assert "admissible_commands" in facts["infos"]


def test_info_shows_the_arguments_as_the_id_sets_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "mise/FTWP-v0"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("mise/FTWP-v0\n\nThe cooking games")
    assert "\nEpisode end\n" in shown
    assert "\n  challenge = 'tw-cooking'\n" in shown
    assert "`" not in shown


def test_one_section_can_be_listed_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "calibrators", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {"calibrators"}
