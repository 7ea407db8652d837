"""The experiment that shows why to calibrate: who wins, and that the script runs."""

import runpy
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "why_calibrate.py"


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """Curves of the fast setting, and the picture."""
    picture = tmp_path_factory.mktemp("why") / "new folder" / "why.png"
    return runpy.run_path(str(SCRIPT))["main"](["--fast", "--out", str(picture)]), picture


@pytest.fixture(scope="module")
def final(outcome):
    """Success in the last eighth of training, lowest and highest seed of every arm."""
    return {
        arm: (late.min(), late.max()) for arm, late in ((arm, curve[:, -25:].mean(axis=1)) for arm, curve in outcome[0].items())
    }


LOW, HIGH = 0, 1


@pytest.mark.slow
def test_a_picture_is_saved(outcome):
    assert outcome[1].read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_calibrated_ends_best(final):
    assert final["calibrated"][LOW] > max(final[arm][HIGH] for arm in final if not arm.startswith("calibrated"))


@pytest.mark.slow
def test_calibrated_learns_faster_than_sparse(outcome):
    early = {arm: curve[:, 50:100].mean(axis=1) for arm, curve in outcome[0].items()}
    assert early["calibrated"].min() > 2 * early["sparse"].max()


@pytest.mark.slow
def test_a_flipped_judge_is_as_good_once_calibrated(final):
    assert np.abs(np.subtract(final["calibrated + flipped"], final["calibrated"])).max() < 0.03


@pytest.mark.slow
def test_an_uninformative_judge_leaves_sparse_reward_once_calibrated(final):
    assert np.abs(np.subtract(final["calibrated + uninformative"], final["sparse"])).max() < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("arm", ["raw", "raw + uninformative", "raw centred"])
def test_uncalibrated_rewards_end_below_sparse(final, arm):
    assert final[arm][HIGH] < final["sparse"][LOW] - 0.1


@pytest.mark.slow
def test_a_flipped_judge_destroys_the_policy_without_calibration(final):
    assert final["raw centred + flipped"][HIGH] < 0.02
