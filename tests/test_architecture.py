"""What every file of the package has to keep: cheap import, short files, documented names, one direction of imports."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CODE = sorted(
    path for folder in ("mise_gym", "webshop_server", "tests", "examples", "docs") for path in (ROOT / folder).rglob("*.py")
)
PACKAGE = sorted(path for folder in ("mise_gym", "webshop_server") for path in (ROOT / folder).rglob("*.py"))
LONGEST_FILE = 500
LONGEST_FUNCTION = 80
HEAVY = ("torch", "transformers", "tokenizers", "textworld", "scienceworld", "flask", "selenium", "matplotlib", "tqdm", "httpx")
OF_THE_CORE = {
    "mise_gym",
    "webshop_server",
    "gymnasium",
    "numpy",
    "cloudpickle",
    "farama_notifications",
    "typing_extensions",
    "cython_runtime",
}
"""The core and what it brings."""
VAGUE = {"utils.py", "util.py", "common.py", "helpers.py", "misc.py", "base2.py"}

every_file = pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
every_module = pytest.mark.parametrize("path", PACKAGE, ids=lambda path: str(path.relative_to(ROOT)))


@pytest.mark.parametrize(
    "module", ["mise_gym", "mise_gym.envs.wrappers", "mise_gym.rewards", "mise_gym.cli", "mise_gym.cli.listing"]
)
def test_importing_loads_no_simulator_and_no_learning_library(module: str) -> None:
    program = f"import sys, {module}; print([name for name in {HEAVY} if name in sys.modules])"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout == "[]\n"


def test_importing_the_package_needs_only_the_core_dependencies() -> None:
    program = (
        "import sys; before = set(sys.modules); import mise_gym; "
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names))"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)

    loaded = {name for name in done.stdout.split() if not name.startswith("_")}
    assert {"mise_gym", "gymnasium", "numpy"} <= loaded <= OF_THE_CORE


@every_file
def test_a_file_stays_within_its_budget(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE


@every_file
def test_a_file_is_named_after_what_it_holds(path: Path) -> None:
    assert path.name not in VAGUE


@every_module
def test_every_public_name_has_a_docstring(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))

    undocumented = [name for name, node in _public(tree) if not ast.get_docstring(node)]

    assert ast.get_docstring(tree)
    assert undocumented == []


@every_module
def test_no_function_is_longer_than_a_page(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))

    long = [node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and _body_lines(node) > LONGEST_FUNCTION]

    assert long == []


def test_the_rooms_import_in_one_direction_only() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout


Documented = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def _public(scope: ast.Module | ast.ClassDef, prefix: str = "") -> Iterator[tuple[str, Documented]]:
    for node in scope.body:
        if isinstance(node, Documented) and not node.name.startswith("_") and not _is_setter(node):
            yield prefix + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from _public(node, f"{prefix}{node.name}.")


def _is_setter(node: Documented) -> bool:
    """The docstring of a property stands at its getter."""
    return any(isinstance(decorator, ast.Attribute) and decorator.attr == "setter" for decorator in node.decorator_list)


def _body_lines(node: ast.FunctionDef) -> int:
    first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
    return (node.end_lineno or first.lineno) - first.lineno + 1
