"""The generated pages are current, links lead somewhere, and everything that can be named is described."""

import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]


@pytest.fixture(scope="module")
def generator(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("_gen")


def test_generated_pages_are_current(generator: ModuleType) -> None:
    pages = generator.pages()

    stale = [str(path.relative_to(ROOT)) for path, text in pages.items() if not path.exists() or path.read_text() != text]

    assert stale == [], "Run `make docs` and commit what it writes."


def test_no_generated_page_is_left_over(generator: ModuleType) -> None:
    generated = {path for path in DOCS.rglob("*.md") if generator.NOTICE in path.read_text()}

    assert generated == set(generator.pages())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text())

    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize(
    "page",
    [page for page in sorted(DOCS.rglob("*.md")) if page.parent.name != "decisions"],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_every_page_is_reachable_from_the_index(page: Path) -> None:
    index = DOCS / "index.md"

    assert page == index or f"({page.relative_to(DOCS)})" in index.read_text()


def toml_on_the_training_page() -> list[str]:
    return re.findall(r"```toml\n(.*?)```", (DOCS / "training.md").read_text(), flags=re.DOTALL)


def test_the_settings_file_on_the_training_page_is_accepted() -> None:
    from mise_gym.train.config import from_mapping

    _, settings = toml_on_the_training_page()

    assert from_mapping(tomllib.loads(settings)).ppo.iterations == 80


def test_the_variant_on_the_training_page_is_accepted(tmp_path: Path) -> None:
    from mise_gym.ablation.suite import load_suite

    variant, _ = toml_on_the_training_page()
    path = tmp_path / "suite.toml"
    path.write_text(f"seeds = [0]\n{variant}\n[environments.demo]\n")

    assert [(job.arm, job.config.calibrator) for job in load_suite(path).jobs()][-1] == ("mise-affine", "affine")


def test_every_choice_of_reward_is_on_the_training_page() -> None:
    from mise_gym.train.config import REWARD_ARMS

    described = re.findall(r"^\| `([a-z][a-z-]*)` \|", (DOCS / "training.md").read_text(), flags=re.MULTILINE)

    assert described == list(REWARD_ARMS)
