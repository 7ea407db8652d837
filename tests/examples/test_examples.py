"""The examples run, and show what they say they show."""

import runpy
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_hindsight_helps_somebody_elses_agent(capsys: pytest.CaptureFixture[str]) -> None:
    opened = runpy.run_path(str(EXAMPLES / "wrap_existing_agent.py"))["main"]([])

    assert opened["with hindsight"] > opened["environment's reward"] + 0.4
    assert "of the locks opened in the last third of 300 episodes" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.integration
def test_ppo_of_stable_baselines3_trains_with_every_reward(tmp_path: Path) -> None:
    picture = tmp_path / "new folder" / "curves.png"
    main = runpy.run_path(str(EXAMPLES / "train_sb3_ppo.py"))["main"]

    curves = main(["--fast", "--out", str(picture)])

    assert {arm: curve.shape for arm, curve in curves.items()} == {"sparse": (1, 1), "MISE": (1, 1), "MISE-heuristic": (1, 1)}
    assert all(np.all((curve > 0) & (curve < 1)) for curve in curves.values())
    assert picture.read_bytes().startswith(b"\x89PNG")
