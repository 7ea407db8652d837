"""A run's model for plain transformers, whether it was trained whole or through an adapter."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from mise_gym.cli import main
from mise_gym.train.adapter import LoRAConfig
from mise_gym.train.checkpoint import Checkpoints, save_model, write_folder
from mise_gym.train.config import TrainConfig
from mise_gym.train.model import build_tiny_model
from mise_gym.train.policy import LLMPolicy
from mise_gym.train.preparation import add_adapter, make_policy
from tests.train.conftest import TINY

IDS = torch.tensor([[5, 6, 7, 8]])
RANKS = [0, 4]

ON_ITS_OWN = """
import sys
sys.modules["peft"] = sys.modules["mise_gym"] = None
from transformers import AutoModelForCausalLM
print(AutoModelForCausalLM.from_pretrained(sys.argv[1]).num_parameters())
"""


def write_run(folder: Path, tokenizer: Any, rank: int) -> LLMPolicy:
    """Leave behind what a run leaves: its settings, the warm start, and a checkpoint of a policy that has moved."""
    folder.mkdir()
    config = TrainConfig(run_dir=folder, lora=LoRAConfig(rank=rank))
    (folder / "config.json").write_text(config.to_json())
    policy = make_policy(build_tiny_model(tokenizer, TINY, seed=0), tokenizer, config)
    write_folder(folder / "warm_start", lambda aside: save_model(policy, aside))
    add_adapter(policy, config, folder / "warm_start")
    with torch.random.fork_rng(), torch.no_grad():
        for weights in policy.trained_weights:
            weights.add_(torch.randn_like(weights), alpha=0.1)
    Checkpoints(folder / "checkpoints").save(7, policy, {}, {})
    return policy


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    return model(input_ids=IDS).logits  # type: ignore[no-any-return]  # transformers is untyped


@pytest.mark.parametrize("rank", RANKS)
def test_an_exported_model_says_what_the_policy_says(
    tmp_path: Path, tokenizer: Any, rank: int, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = write_run(tmp_path / "run", tokenizer, rank)

    assert main(["export", str(tmp_path / "run"), str(tmp_path / "out")]) == 0

    assert torch.allclose(logits(AutoModelForCausalLM.from_pretrained(tmp_path / "out")), logits(policy.model), atol=1e-5)
    words = AutoTokenizer.from_pretrained(tmp_path / "out").encode(" take red apple\n", add_special_tokens=False)
    assert words == policy.text.action("take red apple")
    assert "iteration-00007" in capsys.readouterr().out


@pytest.mark.slow
def test_an_exported_model_needs_neither_peft_nor_this_package(tmp_path: Path, tokenizer: Any) -> None:
    policy = write_run(tmp_path / "run", tokenizer, 4)
    main(["export", str(tmp_path / "run"), str(tmp_path / "out")])

    done = subprocess.run(
        [sys.executable, "-c", ON_ITS_OWN, str(tmp_path / "out")], cwd=tmp_path, capture_output=True, text=True, check=True
    )

    adapter = sum(weights.numel() for weights in policy.trained_weights)
    assert int(done.stdout) == sum(weights.numel() for weights in policy.model.parameters()) - adapter


def test_the_final_model_is_taken_before_any_checkpoint(tmp_path: Path, tokenizer: Any) -> None:
    run = tmp_path / "run"
    policy = write_run(run, tokenizer, 4)
    with torch.no_grad():
        policy.trained_weights[0].add_(1.0)
    write_folder(run / "model", lambda aside: save_model(policy, aside))

    main(["export", str(run), str(tmp_path / "out")])
    main(["export", str(run), str(tmp_path / "older"), "--iteration", "7"])

    final, older = (AutoModelForCausalLM.from_pretrained(tmp_path / name) for name in ("out", "older"))
    assert torch.allclose(logits(final), logits(policy.model), atol=1e-5)
    assert not torch.allclose(logits(older), logits(policy.model), atol=1e-3)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["run", "out", "--iteration", "3"], "has no checkpoint of iteration 3 yet. Checkpoints there: 7."),
        (["run", "run"], "exists already. Choose a folder that does not."),
        (["nowhere", "out"], "holds no training run"),
        (["damaged", "out"], "changed after writing"),
    ],
)
def test_what_cannot_be_exported_is_explained_in_one_sentence(
    tmp_path: Path, tokenizer: Any, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    write_run(tmp_path / "run", tokenizer, 4)
    write_run(tmp_path / "damaged", tokenizer, 4)
    (tmp_path / "damaged" / "warm_start" / "model.safetensors").write_bytes(b"")
    run, out, *more = words

    assert main(["export", str(tmp_path / run), str(tmp_path / out), *more]) == 2

    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_settings_with_nothing_in_them_are_read(tmp_path: Path, tokenizer: Any) -> None:
    write_run(tmp_path / "run", tokenizer, 0)

    assert json.loads((tmp_path / "run" / "config.json").read_text())["model"] is None
    assert main(["export", str(tmp_path / "run"), str(tmp_path / "out")]) == 0
