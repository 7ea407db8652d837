"""Metrics against numbers worked out by hand and against slow obvious versions."""

import math

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import brier_score_loss, roc_auc_score

from mise_gym.errors import ConfigError
from mise_gym.rewards.metrics import (
    auroc,
    brier,
    brier_parts,
    ece,
    judge_drift,
    mutual_information_bits,
    overconfidence,
    reliability_curve,
)

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


# Equal width


def test_bins_of_equal_width_by_hand():
    """Beliefs 0.05 and 0.15 fall into different tenths; equal mass with two bins would split elsewhere."""
    beliefs, outcomes = [0.05, 0.15, 0.15, 1.0], [0.0, 1.0, 0.0, 1.0]
    curve = reliability_curve(beliefs, outcomes, binning="width")
    assert curve.counts.tolist() == [1, 2, 1]
    assert ece(beliefs, outcomes, binning="width") == pytest.approx((0.05 + 2 * 0.35 + 0) / 4)


def test_the_two_kinds_of_bins_differ():
    beliefs = [0.91, 0.92, 0.93, 0.94]
    assert ece(beliefs, [0, 0, 1, 1], bins=2) > ece(beliefs, [0, 0, 1, 1], bins=2, binning="width")


def test_an_unknown_kind_of_bins_is_refused():
    with pytest.raises(ConfigError, match="'mass' or 'width'"):
        ece([0.5], [1.0], binning="depth")


# The parts of Brier's score


def test_the_parts_of_brier_by_hand():
    """0.9 comes true in one case of two, 0.2 in none of two; the base rate is one quarter."""
    parts = brier_parts([0.9, 0.9, 0.2, 0.2], [1, 0, 0, 0])
    assert parts.reliability == pytest.approx((0.4**2 + 0.2**2) / 2)
    assert parts.resolution == pytest.approx((0.25**2 + 0.25**2) / 2)
    assert parts.uncertainty == pytest.approx(0.25 * 0.75)
    assert parts.within == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("bins", [1, 3, 10])
def test_the_parts_add_up_to_brier(bins):
    rng = np.random.default_rng(0)
    beliefs, outcomes = rng.random(500), rng.random(500)
    parts = brier_parts(beliefs, outcomes, bins)
    total = parts.reliability - parts.resolution + parts.uncertainty + parts.within
    assert total == pytest.approx(brier(beliefs, outcomes), abs=1e-12)


def test_always_saying_the_base_rate_has_only_uncertainty():
    parts = brier_parts([0.25] * 4, [1, 0, 0, 0])
    assert (parts.reliability, parts.resolution, parts.within) == (0.0, 0.0, 0.0)


# Drift


def test_a_judge_that_became_generous():
    drift = judge_drift([0.5, 0.7, 0.9], [0.3, 0.5, 0.7])
    assert (drift.mean, drift.rms, drift.rank_correlation) == pytest.approx((0.2, 0.2, 1.0))


def test_a_judge_that_turned_round_has_not_moved_on_average():
    drift = judge_drift([0.2, 0.5, 0.8], [0.8, 0.5, 0.2])
    assert (drift.mean, drift.rms, drift.rank_correlation) == pytest.approx((0.0, math.sqrt(0.24), -1.0))


def test_rank_correlation_is_scipys():
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 6, 50) / 6, rng.integers(0, 6, 50) / 6
    assert judge_drift(first, second).rank_correlation == pytest.approx(spearmanr(first, second).statistic)


def test_a_constant_judge_has_no_ranking():
    assert judge_drift([0.5, 0.5], [0.1, 0.9]).rank_correlation is None


@pytest.mark.parametrize("metric", [brier_parts, judge_drift])
def test_pairs_that_do_not_match_are_refused_here_too(metric):
    with pytest.raises(ConfigError, match="one equal length"):
        metric([0.5], [1.0, 0.0])


@pytest.mark.parametrize("seed", range(3))
def test_auroc_and_brier_are_scikit_learns(seed):
    rng = np.random.default_rng(seed)
    beliefs, successes = rng.integers(0, 9, 80) / 8, rng.random(80) < 0.4
    assert auroc(beliefs, successes) == pytest.approx(roc_auc_score(successes, beliefs))
    assert brier(beliefs, successes) == pytest.approx(brier_score_loss(successes, beliefs))
