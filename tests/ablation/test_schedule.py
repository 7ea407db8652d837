"""A suite of real, tiny runs: what the arms share, that they are what they would be alone, and that nothing is done twice."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mise_gym.ablation.suite import Suite, load_suite
from mise_gym.cli import main
from mise_gym.train.metrics import MetricsFile
from mise_gym.train.run import TrainingRun

pytestmark = [pytest.mark.slow, pytest.mark.integration]

ROOT = Path(__file__).parents[2]
SUITE = """
arms = ["sparse", "mise"]
seeds = [4]

[settings]
threads = 1
max_observation_tokens = 48
games = {level = "recipe1+take1+cook+cut+open+mixed", train = 6, heldout = 3, max_turns = 5}
tiny = {hidden_size = 16, num_heads = 2, intermediate_size = 32, vocab_size = 320}
warm_start = {expert_episodes = 3, judge_episodes = 3, epochs = 1}
ppo = {iterations = 2, episodes_per_iteration = 4, num_envs = 2}

[environments.kitchen]
"""


def words(folder: Path, *more: str) -> list[str]:
    path = folder.parent / "suite.toml"
    path.write_text(SUITE)
    return ["ablate", str(path), "--folder", str(folder), "--quiet", *more]


def run_folder(folder: Path, arm: str) -> Path:
    return folder / "kitchen" / "seed-4" / arm


def suite_in(folder: Path) -> Suite:
    return load_suite(folder.parent / "suite.toml", folder=folder)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ablation") / "runs"
    assert main(words(folder, "--jobs", "2")) == 0
    return folder


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "runs"))


def multiprocessing_children(parent: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def is_running(process: int) -> bool:
    status = Path(f"/proc/{process}/status")
    return status.exists() and "State:\tZ" not in status.read_text()


def wait_for(condition: Callable[[], bool]) -> bool:
    """Wait until something holds that takes a moment: Python's own helper process ends after the one that it helps."""
    for _ in range(100):
        if condition():
            return True
        time.sleep(0.1)
    return False


def timeless(folder: Path) -> list[dict[str, object]]:
    records = MetricsFile(folder / "metrics.jsonl").read()
    return [{name: v for name, v in record.items() if not name.startswith("time/")} for record in records]


def test_every_run_is_finished_and_the_page_says_so(finished: Path) -> None:
    page = (finished / "results.md").read_text()

    assert "3 of 3 runs are finished, 4 of 4 iterations done." in page
    assert "| mise | sparse |" in page
    assert (finished / "learning_kitchen.png").exists()


@pytest.mark.parametrize(
    "name", ["warm_start/model.safetensors", "demonstrations_judge.jsonl.gz", "heldout_before_greedy.jsonl.gz"]
)
def test_the_arms_of_a_seed_begin_with_the_same(finished: Path, name: str) -> None:
    assert len({(run_folder(finished, arm) / name).read_bytes() for arm in ("sft", "sparse", "mise")}) == 1


def test_an_arm_finds_what_it_would_have_found_alone(finished: Path, tmp_path: Path) -> None:
    words(tmp_path / "alone")
    config = next(job.config for job in suite_in(tmp_path / "alone").jobs() if job.arm == "mise")

    TrainingRun(config, progress=False).run()

    assert timeless(config.run_dir) == timeless(run_folder(finished, "mise"))


def test_a_second_call_only_reads(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in (copied / "kitchen").rglob("*")}

    assert main(words(copied)) == 0

    assert {path: path.stat().st_mtime_ns for path in (copied / "kitchen").rglob("*")} == before
    assert "Written to" in capsys.readouterr().out


def test_the_page_of_a_part_says_which_part_it_is(copied: Path) -> None:
    assert main(words(copied, "--arms", "sparse")) == 0

    page = (copied / "results.md").read_text()
    assert "suite.toml --arms sparse`" in page
    assert "2 of 2 runs are finished" in page


def test_a_dry_run_tells_what_is_left_and_does_nothing(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(run_folder(copied, "mise"))

    assert main(words(copied, "--dry-run")) == 0

    shown = capsys.readouterr().out
    assert "kitchen          seed 4   sparse             finished" in shown
    assert "kitchen          seed 4   mise               0 of 2 iterations done" in shown
    assert "s per iteration so far" in shown
    assert not run_folder(copied, "mise").exists()


@contextlib.contextmanager
def a_suite_that_runs(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a suite in a process of its own, and go on when its first run has written something."""
    program = f"import sys; from mise_gym.cli import main; sys.exit(main({words(folder, '--jobs', '2')!r}))"
    metrics = run_folder(folder, "sft") / "metrics.jsonl"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True, env=environment) as process:
        while process.poll() is None and not metrics.exists():
            time.sleep(0.02)
        yield process


def test_ctrl_c_stops_every_process_and_the_same_command_goes_on(tmp_path: Path) -> None:
    with a_suite_that_runs(tmp_path / "runs") as process:
        children = multiprocessing_children(process.pid)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=120)

    assert (process.returncode, error) == (130, "mise-gym: Interrupted. What was finished is saved.\n")
    assert children
    assert wait_for(lambda: not any(is_running(child) for child in children))
    assert "of 3 runs are finished" in (tmp_path / "runs" / "results.md").read_text()
    assert main(words(tmp_path / "runs")) == 0


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_runs_end_with_a_suite_that_is_killed(tmp_path: Path, how: signal.Signals) -> None:
    with a_suite_that_runs(tmp_path / "runs") as process:
        children = multiprocessing_children(process.pid)
        process.send_signal(how)
        process.communicate(timeout=120)

    assert children
    assert wait_for(lambda: not any(is_running(child) for child in children))
    assert not (run_folder(tmp_path / "runs", "sft") / "summary.json").exists()  # ended, and not just at its end


def test_a_run_that_is_killed_is_explained(tmp_path: Path) -> None:
    with a_suite_that_runs(tmp_path / "runs") as process:
        for child in multiprocessing_children(process.pid):
            if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                os.kill(child, signal.SIGKILL)
        _, error = process.communicate(timeout=120)

    assert process.returncode == 2
    assert "seed-4/sft' ended with the status -9; -9 may be want of memory. Give a smaller --jobs" in error


def test_a_run_that_fails_is_explained_and_what_was_finished_is_reported(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run_folder(copied, "mise") / "summary.json").unlink()
    (run_folder(copied, "mise") / "model" / "model.safetensors").write_bytes(b"")

    assert main(words(copied)) == 2

    assert "model.safetensors changed after writing" in capsys.readouterr().err
    assert list(json.loads((copied / "results.json").read_text())["figures"]["kitchen"]["sparse"]) == ["4"]
    assert "2 of 3 runs are finished" in (copied / "results.md").read_text()
