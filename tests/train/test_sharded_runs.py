"""Whole runs with sharded weights, started the way users start them: they find and write what a run in one process does."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from mise_gym.train.adapter import LoRAConfig
from mise_gym.train.config import EvaluationConfig, TrainConfig
from mise_gym.train.placement import ModelConfig
from mise_gym.train.run import TrainingRun
from tests.train.test_launchers import TORCHRUN, differences, launch
from tests.train.test_run import repeatable
from tests.train.tiny_run import tiny_run

pytestmark = [pytest.mark.slow, pytest.mark.integration]


def whole_run(folder: Path) -> TrainConfig:
    return tiny_run(folder, iterations=2)


def adapted_run(folder: Path) -> TrainConfig:
    return tiny_run(
        folder,
        iterations=2,
        lora=LoRAConfig(rank=3),
        model_config=ModelConfig(max_tokens_per_pass=600),
        evaluation=EvaluationConfig(every=2, episodes=3),
    )


def in_one_process(config: TrainConfig) -> Path:
    TrainingRun(config, progress=False).run()
    return config.run_dir


def in_shards(config: TrainConfig) -> Path:
    launch(TORCHRUN, "--master-port", replace(config, model_config=replace(config.model_config, sharding="fsdp")))
    return config.run_dir


def stopped_after_the_first_iteration(run: Path, folder: Path) -> Path:
    """Return a copy of a run of two iterations as it was when the first was done."""
    shutil.copytree(run, folder)
    for name in ("model", "best", "checkpoints/iteration-00002"):
        shutil.rmtree(folder / name, ignore_errors=True)
    for path in (*folder.glob("heldout_after_*"), folder / "summary.json"):
        path.unlink()
    return folder


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return in_one_process(whole_run(tmp_path_factory.mktemp("sharded") / "alone"))


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return in_shards(whole_run(tmp_path_factory.mktemp("sharded") / "both"))


def test_a_run_in_shards_finds_and_writes_what_a_run_in_one_process_does(alone: Path, sharded: Path) -> None:
    assert differences(repeatable(sharded), repeatable(alone)) == []
    ours, theirs = ({str(path.relative_to(run)) for path in run.rglob("*")} for run in (sharded, alone))
    assert ours == theirs


def test_a_run_that_was_stopped_in_shards_goes_on_in_one_process(alone: Path, sharded: Path, tmp_path: Path) -> None:
    folder = stopped_after_the_first_iteration(sharded, tmp_path / "run")

    in_one_process(whole_run(folder))

    assert differences(repeatable(folder), repeatable(alone)) == []


def test_a_run_with_an_adapter_that_was_stopped_in_one_process_goes_on_in_shards_from_a_warm_start_made_in_shards(
    tmp_path: Path,
) -> None:
    alone = in_one_process(adapted_run(tmp_path / "alone"))
    folder = stopped_after_the_first_iteration(alone, tmp_path / "run")
    shutil.rmtree(folder / "warm_start")

    in_shards(adapted_run(folder))

    ours, theirs = repeatable(folder), repeatable(alone)
    for found in (ours, theirs):  # the warm start was written down again, after the first iteration
        found["metrics"].sort(key=lambda record: (record["stage"], record["step"]))
    assert differences(ours, theirs) == []
