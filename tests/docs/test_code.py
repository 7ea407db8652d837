"""Code in README.md, in docs/ and in docstrings runs, and shows what it says it shows."""

from pathlib import Path

import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser
from sybil.parsers.rest import DocTestParser

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
MODULES = sorted(path for package in ("mise_gym", "webshop_server") for path in (ROOT / package).rglob("*.py"))


def evaluate(path: Path, parser: PythonCodeBlockParser | DocTestParser) -> int:
    """Run every example of a file, in order and in one namespace; return how many there are."""
    examples = list(Sybil(parsers=[parser], path=str(ROOT)).parse(path).examples())
    for example in examples:
        example.evaluate()
    return len(examples)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_code_of_a_page_runs(page: Path) -> None:
    evaluate(page, PythonCodeBlockParser())


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_examples_in_docstrings_hold(module: Path) -> None:
    evaluate(module, DocTestParser())


def test_examples_are_found_and_a_wrong_one_fails(tmp_path: Path) -> None:
    assert evaluate(ROOT / "README.md", PythonCodeBlockParser()) >= 2
    assert evaluate(ROOT / "mise_gym" / "spaces.py", DocTestParser()) >= 2
    wrong = tmp_path / "wrong.md"
    wrong.write_text("```python\nassert 1 + 1 == 3\n```\n")

    with pytest.raises(AssertionError):
        evaluate(wrong, PythonCodeBlockParser())
