"""The recipes name flags that exist, and the memory on the page is what the estimate says."""

import re
import shlex
from pathlib import Path

import pytest

from mise_gym.cli import main
from tests.train.test_memory import QWEN_7B

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "running_on_gpus.md").read_text()
RECIPES = {
    recipe.split()[1]: recipe.replace("\\\n", " ")
    for recipe in re.findall(r"^mise-gym train (--env .*?)\n```", PAGE, flags=re.DOTALL | re.MULTILINE)
}


@pytest.mark.parametrize(("column", "env"), [(0, "ftwp"), (1, "scienceworld"), (2, "webshop")])
def test_a_recipe_needs_the_memory_that_the_page_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], column: int, env: str
) -> None:
    QWEN_7B.save_pretrained(tmp_path / "qwen")
    words = shlex.split(RECIPES[env].partition("--run-dir")[2])[1:]
    words[words.index("--model") + 1] = str(tmp_path / "qwen")

    assert main(["train", *words, "--estimate-memory"]) == 0

    shown = capsys.readouterr().out
    (peak,) = re.findall(r"at most +([\d.]+) GB", shown)
    (cache,) = re.findall(r"keys and values +([\d.]+) GB", shown)
    assert _row(r"\*at most\*")[column] == f"{float(peak):.1f}"
    assert _row("keys and values of all")[column] == f"{float(cache):.1f}"


def test_the_file_for_all_weights_needs_the_memory_that_the_page_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    QWEN_7B.save_pretrained(tmp_path / "qwen")
    assert "-m mise_gym train --config examples/full_finetuning_7b.toml" in PAGE
    settings = str(ROOT / "examples" / "full_finetuning_7b.toml")

    assert main(["train", "--config", settings, "--model", str(tmp_path / "qwen"), "--estimate-memory", "8"]) == 0

    shown = capsys.readouterr().out
    parts = re.findall(r"(?:the time|playing|updating) +(.+?) +([\d.]+) GB", shown)
    gigabytes = {name: float(size) for name, size in parts}
    (peak,) = re.findall(r"at most +([\d.]+) GB", shown)
    assert _row("at most, with all") == [f"{float(peak):.1f}"]
    assert _row("weights and critic in float32, an") == [f"{gigabytes['weights']:.1f}"]
    assert _row("moments, an eighth") == [f"{gigabytes['gradients'] + gigabytes['optimiser (AdamW)']:.1f}"]
    assert _row("reference, an eighth") == [f"{gigabytes['reference']:.1f}"]
    assert _row("weights put together") == [f"{gigabytes['weights put together']:.1f}"]
    assert _row("updating: blocks put together") == [f"{gigabytes['blocks put together']:.1f}"]
    assert _row("activations of the same pass") == [f"{gigabytes['activations']:.1f}"]


def _row(name: str) -> list[str]:
    (line,) = re.findall(rf"^\|.*{name}.*$", PAGE, flags=re.MULTILINE)
    return re.findall(r"([\d.]+) GB", line)
