"""The evidence for calibration on real games, in small; and that a claim that does not hold is found."""

import runpy
from dataclasses import replace
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "benchmarks" / "calibration_evidence.py"


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(SCRIPT))


@pytest.fixture(scope="module")
def row(script):
    return script["Row"](
        suite="TextWorld",
        judge="flipped",
        calibrator="outcome",
        ece=(0.3, 0.1),
        brier=(0.3, 0.2),
        auroc=(0.4, 0.6),
        correlation=(-0.5, 0.5),
        power=0.3,
        noise=0.02,
        excess=0.0,
        beliefs=(None, None),
        outcomes=None,
    )


@pytest.mark.integration
@pytest.mark.slow
def test_the_claims_hold_on_real_games(script, tmp_path, capsys):
    assert script["main"](["--fast", "--games", "3", "--episodes", "40", "--draws", "6", "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert shown.count("| TextWorld |") == 20
    assert shown.endswith("All claims hold.\n")
    assert (tmp_path / "reliability.png").read_bytes().startswith(b"\x89PNG")
    assert len(list(tmp_path.glob("*.jsonl.gz"))) == 2


def test_what_holds_is_no_complaint(row):
    assert row.complaints() == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"brier": (0.2, 0.3)}, "the Brier score rose from 0.2000 to 0.3000"),
        ({"correlation": (-0.5, -0.1)}, "the correlation went from -0.500 to -0.100"),
        ({"judge": "uninformative", "excess": 2.5}, "more than noise, by 2.5 standard errors"),
    ],
)
def test_a_claim_that_does_not_hold_is_found(row, change, message):
    assert message in replace(row, **change).complaints()[0]
