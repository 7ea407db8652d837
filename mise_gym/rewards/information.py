"""I(score; outcome) with an interval, for turns that share the outcome of their episode."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mise_gym.errors import ConfigError
from mise_gym.rewards.base import FloatArray
from mise_gym.rewards.binning import equal_mass_bins

_CHUNK = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Information:
    """Bits that a score tells about the outcome, with a confidence interval. All are at least 0."""

    bits: float
    low: float
    high: float


def information(  # the last three are keyword-only
    scores: Sequence[Sequence[float]] | Sequence[FloatArray],
    outcomes: Sequence[float] | FloatArray,
    *,
    bins: int = 10,
    resamples: int = 500,
    confidence: float = 0.95,
    seed: int = 0,
) -> Information:
    """Estimate the mutual information between the score of a turn and the outcome of its episode.

    Scores and outcomes go into equal-mass bins. The plug-in estimate is lowered by what it would be if scores said nothing: its
    mean when the outcomes are shuffled among the episodes. Counting turns as if they were independent, which is what the formula
    in ``metrics.mutual_information_bits`` does, leaves most of that bias in when the scores within an episode are alike. The
    interval comes from drawing episodes with replacement, centred at the estimate, since drawing adds a bias of its own.

    Args:
        scores: One sequence per episode, with one score per turn; give episodes of one turn for single beliefs. Length ``E``.
        outcomes: R of each episode. Shape ``(E,)``, E >= 2.
        bins: Largest number of bins of either.
        resamples: How often outcomes are shuffled, and how often episodes are drawn.
        confidence: Of the interval, in (0, 1).
        seed: Seed of both.

    Raises:
        ConfigError: There are fewer than two episodes, one has no turns, or the lengths differ.

    References:
        Treves and Panzeri, "The upward bias in measures of information derived from limited data samples", Neural Computation 7
        (1995); Efron and Tibshirani, An Introduction to the Bootstrap (1993).
    """
    lengths = np.array([len(part) for part in scores])
    outcomes = np.asarray(outcomes, dtype=np.float64)
    if outcomes.shape != (len(lengths),) or len(lengths) < 2 or not lengths.all():
        raise ConfigError(
            f"Information needs at least two episodes with scores, and one outcome each; got {len(lengths)} episodes "
            f"with {lengths.min(initial=0)} scores or more, and outcomes of shape {outcomes.shape}."
        )
    rng = np.random.default_rng(seed)
    labels = equal_mass_bins(np.concatenate([np.asarray(part, dtype=np.float64) for part in scores]), bins)
    rows = np.zeros((len(lengths), labels.max() + 1))  # (E, S): how often an episode's turns got a score
    np.add.at(rows, (np.repeat(np.arange(len(lengths)), lengths), labels), 1.0)
    columns = equal_mass_bins(outcomes, bins)
    one_hot = np.eye(columns.max() + 1)[columns]  # (E, R)
    shuffled = [_bits((rows.T @ rng.permutation(one_hot))[None])[0] for _ in range(resamples)]
    estimate = float(_bits((rows.T @ one_hot)[None])[0] - np.mean(shuffled))
    drawn = _drawn_bits(rows, columns, resamples, rng)
    tail = (1 - confidence) / 2
    low, high = estimate + np.quantile(drawn - drawn.mean(), [tail, 1 - tail])
    return Information(bits=max(0.0, estimate), low=max(0.0, float(low)), high=max(0.0, float(high)))


def _drawn_bits(rows: FloatArray, columns: NDArray[np.intp], resamples: int, rng: np.random.Generator) -> FloatArray:
    """Return the plug-in estimate of episodes drawn with replacement, many times over. Shape ``(resamples,)``."""
    episodes, num_outcomes = len(rows), int(columns.max()) + 1
    groups = [np.flatnonzero(columns == outcome) for outcome in range(num_outcomes)]
    drawn = []
    for start in range(0, resamples, _CHUNK):
        weights = rng.multinomial(episodes, np.full(episodes, 1 / episodes), size=min(_CHUNK, resamples - start))
        drawn.append(_bits(np.stack([weights[:, group] @ rows[group] for group in groups], axis=2)))
    return np.concatenate(drawn)


def _bits(counts: FloatArray) -> FloatArray:
    """Return the plug-in information of tables of counts. Shape ``(B, S, R)`` -> ``(B,)``."""
    joint = counts / counts.sum(axis=(1, 2), keepdims=True)
    independent = joint.sum(axis=2, keepdims=True) * joint.sum(axis=1, keepdims=True)
    ratio = np.divide(joint, independent, out=np.ones_like(joint), where=joint > 0)
    return np.asarray(np.sum(joint * np.log2(ratio), axis=(1, 2)))
