"""How good are the scores of a judge? Pure functions of beliefs (or scores) and outcomes.

A belief is a probability of success in [0, 1], an outcome is what came of it, in [0, 1]. One pair may be a turn or an episode
(with the mean of its scores as belief); turns of one episode share an outcome, so count episodes when you ask how sure a number
is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mise_gym.errors import ConfigError
from mise_gym.rewards.base import FloatArray
from mise_gym.rewards.binning import equal_mass_bins

Numbers = Sequence[float] | FloatArray
Binning = Literal["mass", "width"]
"""``"mass"``: bins of about equally many pairs; ``"width"``: bins of equal width over [0, 1], some perhaps empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityCurve:
    """The points of a reliability diagram; a perfect judge lies on the diagonal. All shapes ``(B,)``."""

    beliefs: FloatArray
    """Mean belief of each bin."""
    outcomes: FloatArray
    """Mean outcome of each bin."""
    counts: NDArray[np.intp]
    """Pairs in each bin."""


def reliability_curve(beliefs: Numbers, outcomes: Numbers, bins: int = 10, binning: Binning = "mass") -> ReliabilityCurve:
    """Return mean belief against mean outcome in bins of the belief.

    Args:
        beliefs: Shape ``(N,)``, N >= 1.
        outcomes: Shape ``(N,)``.
        bins: Largest number of bins; fewer where beliefs are equal.
        binning: How bins are cut.

    Raises:
        ConfigError: The shapes differ, or there is no pair; or no such binning.

    References:
        DeGroot and Fienberg, "The comparison and evaluation of forecasters", The Statistician 32 (1983); equal-mass bins as in
        Nguyen and O'Connor, "Posterior calibration and exploratory analysis for natural language processing models", arXiv
        1508.05154.
    """
    beliefs, outcomes = _pairs(beliefs, outcomes)
    labels = _bins(beliefs, bins, binning)
    counts = np.bincount(labels)
    return ReliabilityCurve(
        beliefs=np.bincount(labels, weights=beliefs) / counts,
        outcomes=np.bincount(labels, weights=outcomes) / counts,
        counts=counts,
    )


def overconfidence(beliefs: Numbers, outcomes: Numbers) -> float:
    """Return the mean belief minus the mean outcome; positive is over-confident.

    Give failed turns or episodes alone to see the over-confidence on failures.

    Args:
        beliefs: Shape ``(N,)``, N >= 1.
        outcomes: Shape ``(N,)``.

    Raises:
        ConfigError: The shapes differ, or there is no pair.
    """
    beliefs, outcomes = _pairs(beliefs, outcomes)
    return float(beliefs.mean() - outcomes.mean())


def ece(beliefs: Numbers, outcomes: Numbers, bins: int = 10, binning: Binning = "mass") -> float:
    """Return the expected calibration error: mean |belief - outcome| over bins, weighted by their pairs; 0 is best.

    Args:
        beliefs: Shape ``(N,)``, N >= 1.
        outcomes: Shape ``(N,)``.
        bins: Largest number of bins.
        binning: How bins are cut. Most papers use ``"width"``; ``"mass"`` does not depend on a few rare beliefs.

    Raises:
        ConfigError: The shapes differ, or there is no pair; or no such binning.

    Note:
        Biased upwards for small N: even a perfect judge gets about sqrt(bins / N) / 2.

    References:
        Naeini, Cooper and Hauskrecht, "Obtaining well calibrated probabilities using Bayesian binning", AAAI 2015 (equal width);
        Nixon et al., "Measuring calibration in deep learning", arXiv 1904.01685 (equal mass).
    """
    curve = reliability_curve(beliefs, outcomes, bins, binning)
    return float(np.average(np.abs(curve.beliefs - curve.outcomes), weights=curve.counts))


def brier(beliefs: Numbers, outcomes: Numbers) -> float:
    """Return the mean of (belief - outcome)^2: a proper scoring rule, 0 is best, always saying 0.5 gives 0.25.

    Args:
        beliefs: Shape ``(N,)``, N >= 1.
        outcomes: Shape ``(N,)``.

    Raises:
        ConfigError: The shapes differ, or there is no pair.

    References:
        Brier, "Verification of forecasts expressed in terms of probability", Monthly Weather Review 78 (1950).
    """
    beliefs, outcomes = _pairs(beliefs, outcomes)
    return float(np.mean((beliefs - outcomes) ** 2))


@dataclass(frozen=True, slots=True, kw_only=True)
class BrierParts:
    """The parts of Brier's score: ``reliability - resolution + uncertainty + within``."""

    reliability: float
    """Mean squared distance from the diagonal of the reliability diagram; 0 is best."""
    resolution: float
    """Variance of the outcome between bins: what the beliefs tell apart; ``uncertainty`` is best."""
    uncertainty: float
    """Variance of the outcome, which no judge can change."""
    within: float
    """What differences between beliefs of one bin add; 0 when every belief has a bin of its own."""


def brier_parts(beliefs: Numbers, outcomes: Numbers, bins: int = 10) -> BrierParts:
    """Return what Brier's score is made of, over equal-mass bins of the belief.

    Args:
        beliefs: Shape ``(N,)``, N >= 1.
        outcomes: Shape ``(N,)``.
        bins: Largest number of bins.

    Raises:
        ConfigError: The shapes differ, or there is no pair.

    References:
        Murphy, "A new vector partition of the probability score", J. Applied Meteorology 12 (1973); Stephenson, Coelho and
        Jolliffe, "Two extra components in the Brier score decomposition", Weather and Forecasting 23 (2008), for ``within``.
    """
    beliefs, outcomes = _pairs(beliefs, outcomes)
    curve = reliability_curve(beliefs, outcomes, bins)
    labels = equal_mass_bins(beliefs, bins)
    spread, error = beliefs - curve.beliefs[labels], outcomes - curve.outcomes[labels]
    return BrierParts(
        reliability=float(np.average((curve.beliefs - curve.outcomes) ** 2, weights=curve.counts)),
        resolution=float(np.average((curve.outcomes - outcomes.mean()) ** 2, weights=curve.counts)),
        uncertainty=float(outcomes.var()),
        within=float(np.mean(spread**2 - 2 * spread * error)),
    )


def auroc(scores: Numbers, successes: Sequence[bool] | NDArray[np.bool_]) -> float | None:
    """Return the probability that a success scores higher than a failure, ties counting half; 0.5 is chance.

    Args:
        scores: Shape ``(N,)``.
        successes: Shape ``(N,)``.

    Returns:
        The area under the ROC curve; ``None`` when there are no successes or no failures, where it is not defined.

    Raises:
        ConfigError: The shapes differ, or there is no pair.

    References:
        Hanley and McNeil, "The meaning and use of the area under a ROC curve", Radiology 143 (1982).
    """
    scores, is_success = _pairs(scores, np.asarray(successes, dtype=np.float64))
    if not 0 < is_success.sum() < len(is_success):
        return None
    mid_ranks = _mid_ranks(scores)
    num_successes = is_success.sum()
    wins = mid_ranks @ is_success - num_successes * (num_successes + 1) / 2
    return float(wins / (num_successes * (len(scores) - num_successes)))


def mutual_information_bits(scores: Numbers, outcomes: Numbers, bins: int = 10) -> float:
    """Return I(score; outcome) in bits: how much a score says about the outcome, whichever way round.

    Both go into equal-mass bins (distinct values where these are few), and the plug-in estimate is lowered by its bias
    (S - 1)(R - 1) / (2 N ln 2), S and R being the numbers of bins in use.

    Args:
        scores: Shape ``(N,)``.
        outcomes: Shape ``(N,)``.
        bins: Largest number of bins of either.

    Returns:
        At least 0, which means that the scores say nothing. A score that gives away a fair coin is worth 1 bit.

    Raises:
        ConfigError: The shapes differ, or there is no pair.

    References:
        Miller, "Note on the bias of information estimates", in Quastler (ed.), Information Theory in Psychology (1955).
    """
    scores, outcomes = _pairs(scores, outcomes)
    rows, columns = equal_mass_bins(scores, bins), equal_mass_bins(outcomes, bins)
    joint = np.zeros((rows.max() + 1, columns.max() + 1))
    np.add.at(joint, (rows, columns), 1 / len(scores))
    independent = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    seen = joint > 0
    plug_in = float(np.sum(joint[seen] * np.log2(joint[seen] / independent[seen])))
    bias = (joint.shape[0] - 1) * (joint.shape[1] - 1) / (2 * len(scores) * np.log(2))
    return max(0.0, plug_in - float(bias))


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """How far a judge has moved away from a frozen one, on the same turns."""

    mean: float
    """Mean score now minus mean score of the frozen judge; positive is more generous."""
    rms: float
    """Root of the mean squared difference; at least ``abs(mean)``, and larger when turns are judged differently."""
    rank_correlation: float | None
    """Spearman's: 1 where the turns are still ranked alike, -1 where the ranking has turned round; ``None`` where one judge gives
    all turns one score."""


def judge_drift(scores: Numbers, frozen_scores: Numbers) -> Drift:
    """Compare the scores of a judge with those of a frozen judge for the same turns.

    Args:
        scores: Shape ``(N,)``, N >= 1.
        frozen_scores: Shape ``(N,)``.

    Raises:
        ConfigError: The shapes differ, or there is no pair.

    References:
        Spearman, "The proof and measurement of association between two things", American J. Psychology 15 (1904).
    """
    scores, frozen = _pairs(scores, frozen_scores)
    ranks = np.stack([_mid_ranks(scores), _mid_ranks(frozen)])
    defined = (ranks.std(axis=1) > 0).all()
    return Drift(
        mean=float(np.mean(scores - frozen)),
        rms=float(np.sqrt(np.mean((scores - frozen) ** 2))),
        rank_correlation=float(np.corrcoef(*ranks).item(0, 1)) if defined else None,
    )


def _bins(values: FloatArray, bins: int, binning: Binning) -> NDArray[np.intp]:
    """Return bin numbers without gaps. Shape ``(N,)`` -> ``(N,)``."""
    if binning == "mass":
        return equal_mass_bins(values, bins)
    if binning == "width":
        return np.unique(np.clip(np.floor(values * bins), 0, bins - 1), return_inverse=True)[1]
    raise ConfigError(f"binning={binning!r} is unknown. Give 'mass' or 'width'.")


def _mid_ranks(values: FloatArray) -> FloatArray:
    """Return ranks from 1 up, ties sharing their mean. Shape ``(N,)`` -> ``(N,)``."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[inverse])


def _pairs(first: Numbers, second: Numbers) -> tuple[FloatArray, FloatArray]:
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 1 or not len(first):
        raise ConfigError(f"Give two sequences of one equal length, at least 1; got the shapes {first.shape} and {second.shape}.")
    return first, second
