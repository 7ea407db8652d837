"""A judge behind a server that fails on purpose: no crash, no invented score, every episode judged or flagged."""

import runpy
from pathlib import Path

import pytest

from mise_gym.rewards import JudgeStatus
from mise_gym.rewards.rehearsal import FAULTS

SCRIPT = Path(__file__).parents[2] / "examples" / "benchmarks" / "judge_chaos.py"

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("fault_rate", [0.3, 0.9])
def test_every_episode_is_judged_or_flagged_and_no_score_is_invented(fault_rate):
    counts = runpy.run_path(str(SCRIPT))["rehearse"](96, 16, fault_rate)
    assert counts["judged"] + sum(counts["flagged"].values()) == counts["episodes"] == 96
    assert (counts["invented"], counts["scored although flagged"]) == (0, 0)
    assert set(counts["flagged"]) <= {status.value for status in JudgeStatus} - {"ok"}
    assert sum(counts["faults"].values()) / counts["requests"] == pytest.approx(fault_rate, abs=0.1)
    assert set(counts["faults"]) <= set(FAULTS)
