"""A share of what ``examples/benchmarks/fuzz.py`` sends: no simulator dies of it, and nothing is left behind."""

import runpy
from pathlib import Path

import pytest

FUZZ = Path(__file__).parents[2] / "examples" / "benchmarks" / "fuzz.py"

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(("simulator", "strings"), [("textworld", 2000), ("scienceworld", 200)])
def test_random_strings_kill_no_simulator_and_leave_nothing_behind(
    simulator: str, strings: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    counts = runpy.run_path(str(FUZZ))["fuzz"](simulator, strings, 7, progress=False)
    assert counts["strings"] == strings
    assert (counts["crashes of the simulator"], counts["experts who lost afterwards"]) == (0, 0)
    assert list(tmp_path.iterdir()) == []
