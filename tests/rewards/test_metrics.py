"""Metrics against numbers worked out by hand and against slow obvious versions."""

import math

import numpy as np
import pytest

from mise_gym.errors import ConfigError
from mise_gym.rewards.metrics import auroc, brier, ece, mutual_information_bits, overconfidence, reliability_curve

BELIEFS, OUTCOMES = [0.9, 0.9, 0.6, 0.6], [1.0, 0.0, 1.0, 0.0]


def test_overconfidence_by_hand():
    assert overconfidence(BELIEFS, OUTCOMES) == pytest.approx(0.25)


def test_underconfidence_is_negative():
    assert overconfidence([0.2], [1.0]) == pytest.approx(-0.8)


def test_the_reliability_curve_by_hand():
    curve = reliability_curve(BELIEFS, OUTCOMES)
    assert curve.beliefs == pytest.approx([0.6, 0.9])
    assert curve.outcomes == pytest.approx([0.5, 0.5])
    assert curve.counts.tolist() == [2, 2]


def test_ece_by_hand():
    assert ece(BELIEFS, OUTCOMES) == pytest.approx((0.1 + 0.4) / 2)


def test_a_calibrated_judge_has_no_ece():
    assert ece([0.5] * 4 + [1.0] * 2, [1, 0, 1, 0, 1, 1]) == 0.0


def test_brier_by_hand():
    assert brier(BELIEFS, OUTCOMES) == pytest.approx((0.01 + 0.81 + 0.16 + 0.36) / 4)


def test_auroc_by_hand():
    assert auroc([0.1, 0.4, 0.35, 0.8], [False, False, True, True]) == pytest.approx(0.75)


def test_auroc_counts_ties_half():
    assert auroc([0.5, 0.5, 0.5, 0.9], [True, False, False, True]) == pytest.approx((0.5 + 0.5 + 1 + 1) / 4)


def test_auroc_is_the_share_of_pairs_in_order():
    rng = np.random.default_rng(0)
    scores, successes = rng.integers(0, 5, 60) / 5, rng.random(60) < 0.4
    gaps = scores[successes][:, None] - scores[~successes][None, :]
    assert auroc(scores, successes) == pytest.approx(np.mean((gaps > 0) + 0.5 * (gaps == 0)))


@pytest.mark.parametrize("success", [True, False])
def test_auroc_of_one_class_is_not_defined(success):
    assert auroc([0.1, 0.9], [success, success]) is None


def test_a_revealing_score_is_worth_one_bit_less_the_bias():
    scores = [0.2, 0.8] * 50
    assert mutual_information_bits(scores, [0.0, 1.0] * 50) == pytest.approx(1 - 1 / (200 * math.log(2)))


def test_information_does_not_care_which_way_round():
    scores, outcomes = np.array([0.2, 0.8] * 50), [0.0, 1.0] * 50
    assert mutual_information_bits(1 - scores, outcomes) == pytest.approx(mutual_information_bits(scores, outcomes))


def test_information_of_a_noisy_channel():
    """A binary channel that errs once in four carries 1 - H(1/4) bits."""
    scores, outcomes = np.array([0.2, 0.2, 0.2, 0.8, 0.8, 0.8, 0.8, 0.2] * 500), np.array([0, 0, 0, 0, 1, 1, 1, 1] * 500)
    capacity = 1 + 0.25 * math.log2(0.25) + 0.75 * math.log2(0.75)
    assert mutual_information_bits(scores, outcomes) == pytest.approx(capacity, abs=1e-3)


def test_noise_is_worth_nothing():
    rng = np.random.default_rng(0)
    assert mutual_information_bits(rng.random(4000), rng.random(4000) < 0.5) < 0.004


def test_a_constant_score_is_worth_nothing():
    assert mutual_information_bits([0.9] * 4, OUTCOMES) == 0.0


@pytest.mark.parametrize("metric", [overconfidence, ece, brier, auroc, mutual_information_bits, reliability_curve])
@pytest.mark.parametrize(("beliefs", "outcomes"), [([], []), ([0.5], [1.0, 0.0]), ([[0.5]], [[1.0]])])
def test_pairs_that_do_not_match_are_refused(metric, beliefs, outcomes):
    with pytest.raises(ConfigError, match="one equal length"):
        metric(beliefs, outcomes)
