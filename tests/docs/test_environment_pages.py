"""The environments' pages tell what is so: their examples replay, and their tables say what the experts do."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mise_gym.cli import main
from mise_gym.envs.levels import LEVELS

DOCS = Path(__file__).parents[2] / "docs"
TRANSCRIPTS = sorted((DOCS / "transcripts").glob("*.jsonl"))
CHEAP = ("tw-simple, rewards=dense", "easy", "human", "synthetic")


@pytest.fixture(scope="module")
def experts(script: Callable[[str], ModuleType]) -> Any:
    return script("_experts")


@pytest.mark.integration
@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=lambda path: path.stem)
def test_the_example_of_a_page_replays_exactly(transcript: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(transcript)]) == 0, capsys.readouterr().out


@pytest.mark.parametrize("page", ["ftwp", "scienceworld", "textworld", "webshop"])
def test_a_page_ends_with_an_example_and_a_table_of_tasks(page: str) -> None:
    titles = re.findall("^## (.*)", (DOCS / "environments" / f"{page}.md").read_text(), flags=re.MULTILINE)

    assert titles[-2:] == ["Example", "Tasks"]


def test_every_level_of_cooking_games_is_in_the_table() -> None:
    assert list(json.loads((DOCS / "experts.json").read_text())["mise/FTWP-v0"]) == list(LEVELS)


@pytest.mark.integration
@pytest.mark.parametrize("name", CHEAP)
def test_the_table_says_what_the_expert_does(experts: Any, name: str) -> None:
    ((env_id, _, arguments),) = [row for row in experts.rows() if row[1] == name]
    written = json.loads((DOCS / "experts.json").read_text())[env_id][name]

    measured = experts.measure(env_id, arguments, games=2)

    assert measured["expert_actions"] == written["expert_actions"][:2]
    assert measured.get("goals") == written.get("goals")
