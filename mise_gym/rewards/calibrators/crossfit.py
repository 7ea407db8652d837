"""CrossFittedCalibrator: how much of a fitted curve holds on episodes that it was not fitted to."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from mise_gym.extras import require
from mise_gym.rewards.base import FloatArray
from mise_gym.rewards.binning import equal_mass_bins
from mise_gym.rewards.calibrators.windowed import Curve, History, WindowedCalibrator

Fit = Callable[[FloatArray, FloatArray, FloatArray], Curve]
"""From levels of the score, the mean outcome at each and its weight in episodes, shape ``(B,)`` each, to a curve of E[R | s]."""

_FOLDS: Final = 5
_LEVELS: Final = 64


@dataclass(frozen=True, slots=True)
class _Levels:
    """Turns counted by level of the score; equal-mass levels stand in for single scores, which keeps every fit small."""

    centres: FloatArray
    """Mean score of each level. Shape ``(B,)``."""
    turns: FloatArray
    """Turns of each fold at each level. Shape ``(F, B)``."""
    outcomes: FloatArray
    """Their summed outcomes. Shape ``(F, B)``."""
    turns_per_episode: float

    def fit(self, fit: Fit, turns: FloatArray, outcomes: FloatArray) -> Curve:
        """Return the curve fitted to some of the folds, summed. Shapes ``(B,)``."""
        seen = turns > 0
        weights = turns[seen] / self.turns_per_episode
        smoothing = 1 / (weights.sum() + 2)  # Platt's: one success and one failure more than were seen
        means = smoothing + (1 - 2 * smoothing) * outcomes[seen] / turns[seen]
        return fit(self.centres[seen], means, weights)


class CrossFittedCalibrator(WindowedCalibrator):
    """Learns c(s) from a curve that scikit-learn fits, shrunk to 0 as far as it fails to predict (``cross_fitted``).

    Args:
        window: Number of recent episodes to learn from.
        shrinkage: How many episodes the assumption "scores say nothing" is worth. 0 trusts the cross-fit alone.

    Raises:
        ConfigError: An argument is out of range.
        MissingExtraError: scikit-learn is not installed.
    """

    def __init__(self, window: int = 500, shrinkage: float = 10.0) -> None:
        require("sklearn")
        super().__init__(window, shrinkage)

    @staticmethod
    @abstractmethod
    def fit(levels: FloatArray, means: FloatArray, weights: FloatArray) -> Curve:
        """Return a curve of E[R | s] from levels of the score, mean outcomes and weights. Shape ``(B,)`` each."""

    def _curve(self, history: History) -> Curve:
        return cross_fitted(self.fit, history, self.shrinkage)


def cross_fitted(fit: Fit, history: History, shrinkage: float) -> Curve:
    """Return c(s) = lambda (f(s) - mean f) / sd(R), where f is fitted to all episodes and lambda says how far to trust it.

    The episodes are split into five folds. A curve fitted to four of them predicts the outcomes of the fifth; lambda is the slope
    of the regression of these outcomes on the predictions, both centred, limited to [0, 1], times E / (E + shrinkage). Turns of
    one episode are always in one fold. A score that says nothing predicts nothing, and lambda is 0 or close to it.

    Args:
        fit: Fits a curve of E[R | s].
        history: At least two episodes.
        shrinkage: 0 trusts the cross-fit alone; a large value keeps the reward near 0 for long.

    Returns:
        The calibrating curve; over the turns of the history it is 0 on average.

    References:
        Stone, "Cross-validatory choice and assessment of statistical predictions", JRSS B 36 (1974); van Houwelingen and le
        Cessie, "Predictive value of statistical models", Statistics in Medicine 9 (1990), for the slope as shrinkage.
    """
    levels = _levels(history)
    turns, outcomes = levels.turns.sum(axis=0), levels.outcomes.sum(axis=0)
    curve = levels.fit(fit, turns, outcomes)
    centre = np.average(curve(levels.centres), weights=turns)
    episodes = len(history.outcomes)
    scale = _held_out_slope(fit, levels) * episodes / (episodes + shrinkage) / history.spread
    return lambda scores: scale * (curve(scores) - centre)


def _held_out_slope(fit: Fit, levels: _Levels) -> float:
    """Return the slope of held-out outcomes on their predictions, in [0, 1]."""
    agreement, power = 0.0, 0.0
    turns, outcomes = levels.turns.sum(axis=0), levels.outcomes.sum(axis=0)
    for fold_turns, fold_outcomes in zip(levels.turns, levels.outcomes, strict=True):
        rest_turns, rest_outcomes = turns - fold_turns, outcomes - fold_outcomes
        prediction = levels.fit(fit, rest_turns, rest_outcomes)(levels.centres)
        prediction = prediction - np.average(prediction, weights=rest_turns)
        residual = fold_outcomes - fold_turns * (rest_outcomes.sum() / rest_turns.sum())
        agreement += float(prediction @ residual)
        power += float(fold_turns @ prediction**2)
    return float(np.clip(agreement / power, 0.0, 1.0)) if power > 0 else 0.0


def _levels(history: History) -> _Levels:
    labels = equal_mass_bins(history.scores, _LEVELS)
    num_levels = int(labels.max()) + 1
    episodes = len(history.outcomes)
    num_folds = min(_FOLDS, episodes)
    lengths = history.lengths.astype(np.intp)
    fold_of = np.random.default_rng(0).permutation(episodes) % num_folds  # the same folds for the same window
    cells = np.repeat(fold_of, lengths) * num_levels + labels
    size, shape = num_folds * num_levels, (num_folds, num_levels)
    turns = np.bincount(cells, minlength=size).reshape(shape)
    outcomes = np.bincount(cells, weights=np.repeat(history.outcomes, lengths), minlength=size).reshape(shape)
    centres = np.bincount(labels, weights=history.scores) / np.bincount(labels)
    return _Levels(centres, np.asarray(turns, np.float64), np.asarray(outcomes, np.float64), float(history.lengths.mean()))
