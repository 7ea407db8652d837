"""``mise-gym train`` from outside: Ctrl-C and going on, damaged and foreign folders, misspelt values, missing packages."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mise_gym.cli import main
from tests.core_only import run_with_the_core_only

ROOT = Path(__file__).parents[2]
ITERATIONS = 12
SETTINGS = f"""
threads = 1
max_observation_tokens = 48

[games]
train = 6
heldout = 3
max_turns = 5

[tiny]
hidden_size = 16
num_layers = 2
num_heads = 2
intermediate_size = 32
vocab_size = 320

[warm_start]
expert_episodes = 3
judge_episodes = 3
epochs = 1

[ppo]
iterations = {ITERATIONS}
episodes_per_iteration = 4
num_envs = 2
"""

on_real_games = [pytest.mark.slow, pytest.mark.integration]


def words(folder: Path, *more: str) -> list[str]:
    settings = folder.parent / "settings.toml"
    settings.write_text(SETTINGS)
    return ["train", "--quiet", "--config", str(settings), "--run-dir", str(folder), *more]


def iterations_in(folder: Path) -> int:
    metrics = folder / "metrics.jsonl"
    return metrics.read_text().count('"stage": "ppo"') if metrics.exists() else 0


def interrupt_in_the_middle(folder: Path) -> subprocess.CompletedProcess[str]:
    """Start a run in a process of its own and send it Ctrl-C once its first checkpoint is written."""
    program = f"import sys; from mise_gym.cli import main; sys.exit(main({words(folder)!r}))"
    with subprocess.Popen(
        [sys.executable, "-c", program], stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
    ) as process:
        while process.poll() is None and iterations_in(folder) < 2:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    return subprocess.CompletedProcess(process.args, process.returncode, stderr=error)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("runs") / "stopped"
    return folder, interrupt_in_the_middle(folder)


@pytest.fixture
def folder(stopped: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path) -> Path:
    return Path(shutil.copytree(stopped[0], tmp_path / "copied"))


def one_sentence(capsys: pytest.CaptureFixture[str]) -> str:
    error = capsys.readouterr().err
    assert error.startswith("mise-gym: ")
    assert error.count("\n") == 1
    return error


class TestOnRealGames:
    pytestmark = on_real_games

    def test_ctrl_c_ends_with_one_sentence(self, stopped: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
        done = stopped[1]

        assert done.returncode == 130
        assert done.stderr == "mise-gym: Interrupted. What was finished is saved.\n"

    def test_the_same_command_goes_on_where_it_stopped(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        before = iterations_in(folder)

        assert main(words(folder)) == 0

        assert 2 <= before < ITERATIONS
        assert iterations_in(folder) == ITERATIONS
        shown = capsys.readouterr().out
        assert "held-out success, sampled" in shown
        assert f"Pictures, metrics, episodes and the model are in {folder}." in shown

    def test_flags_go_over_the_settings_file(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(words(folder, "--seed", "1", "--ppo.gamma", "0.5")) == 2

        error = one_sentence(capsys)
        assert "holds a run with other settings (ppo.gamma: " in error
        assert "0.5 asked, seed: 0 there, 1 asked). Choose another --run-dir, or delete that folder." in error

    def test_damaged_checkpoints_are_explained(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        for tensors in folder.glob("checkpoints/*/tensors.pt"):
            tensors.write_bytes(tensors.read_bytes()[:-1])

        assert main(words(folder)) == 2

        assert "are damaged. Delete the folder to start training again after the warm start." in one_sentence(capsys)

    def test_a_folder_that_is_no_model_is_explained(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "empty").mkdir()

        assert main(words(tmp_path / "run", "--model", str(tmp_path / "empty"))) == 2

        assert "This folder holds no model that transformers can load" in one_sentence(capsys)


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--reward", "misee"], "No reward named 'misee'. Did you mean 'mise'?"),
        (["--games.level", "recipe1+coook"], "Did you mean 'cook'?"),
        (["--config", "/no/such/file.toml"], "Cannot read the settings in '/no/such/file.toml'"),
        (["--run-dir", "/proc/run"], "Check the path and its permissions."),
    ],
)
def test_bad_input_is_answered_with_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], sentence: str
) -> None:
    assert main(words(tmp_path / "run", *more)) == 2

    assert sentence in one_sentence(capsys)
    assert not (tmp_path / "run" / "warm_start").exists()


def test_a_misspelt_flag_is_named_without_a_page_of_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(words(tmp_path / "run", "--lerning-rate", "3"))

    error = capsys.readouterr().err
    assert error.endswith("unrecognized arguments: --lerning-rate 3\n")
    assert error.count("\n") <= 3


def test_a_missing_package_is_answered_with_the_line_that_installs_it(tmp_path: Path) -> None:
    done = run_with_the_core_only(tmp_path, "from mise_gym.cli import main; sys.exit(main(['train']))")

    assert done.returncode == 2
    assert done.stderr == "mise-gym: torch is not installed. Run: pip install 'mise-gym[train]'\n"
