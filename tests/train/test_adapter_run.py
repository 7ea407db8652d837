"""Whole runs on real games in which an adapter is trained: what they leave behind, and that they can be stopped."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from mise_gym.train.adapter import LoRAConfig
from mise_gym.train.config import TrainConfig
from mise_gym.train.export import export_model
from mise_gym.train.placement import ModelConfig
from mise_gym.train.run import TrainingRun
from tests.train.test_run import StoppingMetrics, summary_of
from tests.train.tiny_run import ITERATIONS, tiny_run

pytestmark = [pytest.mark.slow, pytest.mark.integration]


def adapted_run(folder: Path) -> TrainConfig:
    return tiny_run(
        folder,
        lora=LoRAConfig(rank=4, dropout=0.1),
        model_config=ModelConfig(dtype="bfloat16", gradient_checkpointing=True, max_tokens_per_pass=600),
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("runs") / "adapted"
    TrainingRun(adapted_run(folder), progress=False).run()
    return folder


def adapter_of(folder: Path) -> dict[str, Any]:
    return load_file(folder / "model" / "adapter_model.safetensors")


def test_a_run_leaves_its_warm_start_whole_and_its_model_as_an_adapter(finished: Path) -> None:
    warm_start = AutoModelForCausalLM.from_pretrained(finished / "warm_start", dtype="auto")
    weights = adapter_of(finished)

    assert warm_start.dtype == torch.bfloat16
    assert {each.dtype for each in weights.values()} == {torch.float32}
    assert any(each.abs().max() > 0 for name, each in weights.items() if "lora_B" in name)
    assert not list((finished / "checkpoints").rglob("model.safetensors"))


def test_a_run_that_was_stopped_ends_with_the_same_adapter_and_summary(finished: Path, tmp_path: Path) -> None:
    config = adapted_run(tmp_path / "stopped")
    stopped = TrainingRun(config, progress=False)
    stopped.metrics = StoppingMetrics(stopped.metrics.path, "ppo", 2)
    with pytest.raises(KeyboardInterrupt):
        stopped.run()

    TrainingRun(config, progress=False).run()

    ours, theirs = adapter_of(config.run_dir), adapter_of(finished)
    assert all(torch.equal(weights, theirs[name]) for name, weights in ours.items())
    assert summary_of(config.run_dir)["details"] == summary_of(finished)["details"]


def test_the_exported_model_of_a_run_differs_from_its_warm_start(finished: Path, tmp_path: Path) -> None:
    export_model(finished, tmp_path / "out")
    export_model(finished, tmp_path / "early", ITERATIONS)

    exported, early, warm_start = (
        AutoModelForCausalLM.from_pretrained(path).state_dict()
        for path in (tmp_path / "out", tmp_path / "early", finished / "warm_start")
    )
    assert exported.keys() == warm_start.keys()
    assert any(not torch.equal(weights, warm_start[name]) for name, weights in exported.items())
    assert all(torch.equal(weights, early[name]) for name, weights in exported.items())
