"""The examples run, and show what they say they show."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_hindsight_helps_somebody_elses_agent(capsys: pytest.CaptureFixture[str]) -> None:
    opened = runpy.run_path(str(EXAMPLES / "wrap_existing_agent.py"))["main"]([])

    assert opened["with hindsight"] > opened["environment's reward"] + 0.4
    assert "of the locks opened in the last third of 300 episodes" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.integration
def test_ppo_of_stable_baselines3_trains_with_sparse_reward_and_mise_and_a_second_call_resumes(tmp_path: Path) -> None:
    picture, runs = tmp_path / "new folder" / "curves.png", tmp_path / "runs"
    arms = ["sparse", "MISE, rules of thumb"]
    script = [sys.executable, str(EXAMPLES / "train_sb3_ppo.py"), "--fast", "--arms", *arms]

    first, second = (
        subprocess.run([*script, "--runs", str(runs), "--out", str(picture)], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    )

    curves = {path.name: json.loads(path.read_text()) for path in runs.iterdir()}
    assert sorted(curves) == ["MISE-rules-of-thumb-seed3-2048turns.json", "sparse-seed3-2048turns.json"]
    assert all(len(curve) == 1 and 0 < curve[0] < 1 for curve in curves.values())
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "sparse, seed 3: progress" in first
    assert "seed 3: progress" not in second
    assert first.endswith(second)
