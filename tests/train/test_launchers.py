"""A whole run in two processes, started the way users start it; its three held-out games do not divide."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from mise_gym.train.checkpoint import check_folder
from mise_gym.train.config import TrainConfig
from mise_gym.train.run import TrainingRun
from mise_gym.trajectories import read_episodes
from tests.train.process_job import ROOT, free_port
from tests.train.test_run import repeatable, summary_of
from tests.train.tiny_run import ITERATIONS, tiny_run

pytestmark = [pytest.mark.slow, pytest.mark.integration]

TORCHRUN = ["torch.distributed.run", "--nproc-per-node", "2", "--master-addr", "127.0.0.1"]
ACCELERATE = ["accelerate.commands.launch", "--config_file", "examples/accelerate/one_machine.yaml", "--num_processes", "2"]


def flags(settings: Any, defaults: Any, prefix: str = "") -> Iterator[str]:
    """Yield the command line of what is not the default."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from flags(value, defaults[name], f"{prefix}{name}.")
        elif value != defaults[name]:
            yield from (f"--{prefix}{name}".replace("_", "-"), str(value))


def launch(launcher: list[str], port_flag: str, config: TrainConfig) -> str:
    """Run ``mise-gym train`` in two processes and return what was printed."""
    module, *options = launcher
    words = [*flags(asdict(config), asdict(TrainConfig())), "--quiet"]
    command = [sys.executable, "-m", module, *options, port_flag, str(free_port()), "-m", "mise_gym", "train", *words]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("launched") / "alone"
    TrainingRun(tiny_run(folder), progress=False).run()
    return folder


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("launched") / "both"
    return folder, launch(TORCHRUN, "--master-port", tiny_run(folder))


def differences(ours: Any, theirs: Any, name: str = "") -> list[str]:
    """Name what differs by more than rounding."""
    if isinstance(ours, dict) and ours.keys() == theirs.keys():
        return [found for key in ours for found in differences(ours[key], theirs[key], f"{name}.{key}")]
    if isinstance(ours, list) and len(ours) == len(theirs):
        return [found for at, pair in enumerate(zip(ours, theirs, strict=True)) for found in differences(*pair, f"{name}[{at}]")]
    is_near = isinstance(ours, int | float) and ours == pytest.approx(theirs, rel=1e-4, abs=1e-5)
    return [] if is_near or ours == theirs else [f"{name}: {ours!r} and {theirs!r}"]


def test_a_run_in_two_processes_finds_what_a_run_in_one_finds(alone: Path, both: tuple[Path, str]) -> None:
    assert differences(repeatable(both[0]), repeatable(alone)) == []


def test_the_episodes_of_both_processes_are_recorded_once_and_in_order(alone: Path, both: tuple[Path, str]) -> None:
    for name in (f"episodes/iteration-{ITERATIONS:05d}.jsonl.gz", "heldout_after_greedy.jsonl.gz"):
        ours, theirs = (list(read_episodes(folder / name)) for folder in (both[0], alone))
        assert [episode.transitions for episode in ours] == [episode.transitions for episode in theirs]


def test_the_outcome_is_printed_once(both: tuple[Path, str]) -> None:
    assert both[1].count("Pictures, metrics, episodes and the model are in") == 1


def test_a_checkpoint_of_two_processes_goes_on_in_one(both: tuple[Path, str], alone: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(both[0], tmp_path / "run"))
    for name in ("model", f"checkpoints/iteration-{ITERATIONS:05d}"):
        shutil.rmtree(folder / name)
    for path in (*folder.glob("heldout_after_*"), folder / "summary.json"):
        path.unlink()

    TrainingRun(tiny_run(folder), progress=False).run()

    check_folder(folder / "checkpoints" / f"iteration-{ITERATIONS:05d}")
    assert differences(repeatable(folder), repeatable(alone)) == []


def test_accelerate_launch_joins_the_processes(both: tuple[Path, str]) -> None:
    """The run is finished: both processes meet, and one of them says so."""
    printed = launch(ACCELERATE, "--main_process_port", tiny_run(both[0]))

    assert printed.count("Pictures, metrics, episodes and the model are in") == 1
    assert json.loads((both[0] / "summary.json").read_text()) == summary_of(both[0])
