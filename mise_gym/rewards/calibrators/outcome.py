"""OutcomeCalibrator: pay for a score what that score has said about success."""

from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from mise_gym.errors import CheckpointError, ConfigError
from mise_gym.rewards.base import FloatArray
from mise_gym.rewards.binning import equal_mass_bins

_ZERO: Final = (np.zeros(1), np.zeros(1))


class OutcomeCalibrator:
    """c(s) = (E[R | s] - E[R]) / sd(R), learnt online from recent episodes and shrunk towards 0.

    The pairs (score of a turn, outcome R of its episode) of the last ``window`` episodes go into equal-mass bins of the score.
    Bin b has the effect d_b: its mean outcome minus the mean outcome of all turns, in standard deviations of R. The turns of an
    episode share one outcome, so the noise of d_b is counted in episodes: v_b is the variance that d_b would have if the
    outcomes were shuffled among the episodes, and n_b = 1 / v_b the number of independent episodes that the bin is worth. The
    effect is then shrunk,

        c_b = d_b * n_b / (n_b + k),    k = max(shrinkage, 1 / tau^2),

    where tau^2 is the variance of the true effects by the method of moments, the mean of d_b^2 - v_b over turns (empirical
    Bayes). When the bins differ no more than shuffled outcomes would make them, tau^2 is not positive and c is exactly 0.
    Between the mean scores of the bins c is linear, and beyond them constant.

    So an uninformative judge pays about nothing and sparse reward remains, an over-confident judge is re-scaled, and an
    inverted one is turned round. The function need not be monotone. It is exactly 0 before any data, and when all outcomes are
    equal. Over the window the turns are paid 0 on average, so that long episodes earn nothing by being long.

    Args:
        window: Number of recent episodes to learn from. 1 forgets everything; a long window is stable but slow to follow the
            policy.
        bins: Largest number of bins. 1 cannot tell scores apart.
        shrinkage: k at least this many episodes. 0 trusts the data at once; a large value keeps the reward near 0 for long.

    Raises:
        ConfigError: An argument is out of range.

    Example:
        >>> calibrator = OutcomeCalibrator()
        >>> for _ in range(100):  # an over-confident judge: 0.9 when it goes well, 0.8 when it does not
        ...     calibrator.update([0.9, 0.9], outcome=1.0)
        ...     calibrator.update([0.8, 0.8], outcome=0.0)
        >>> calibrator(np.array([0.9, 0.8])).round(1).tolist()
        [1.0, -1.0]

    References:
        Efron and Morris, "Stein's estimation rule and its competitors: an empirical Bayes approach", JASA 68 (1973); the use as
        a reward is ours, see ``docs/theory.md``.
    """

    def __init__(self, window: int = 500, bins: int = 10, shrinkage: float = 10.0) -> None:
        if window < 1 or bins < 1 or shrinkage < 0:
            raise ConfigError(
                f"OutcomeCalibrator got window={window!r}, bins={bins!r}, shrinkage={shrinkage!r}. "
                "Give window >= 1, bins >= 1 and shrinkage >= 0."
            )
        self.bins = bins
        self.shrinkage = shrinkage
        self._episodes: deque[tuple[FloatArray, float]] = deque(maxlen=window)
        self._curve: tuple[FloatArray, FloatArray] | None = _ZERO

    def __call__(self, scores: FloatArray) -> FloatArray:
        """Return c(s) of every score. Shape ``(T,)`` -> ``(T,)``."""
        if self._curve is None:
            self._curve = self._fit()
        return np.interp(scores, *self._curve)

    def update(self, scores: Sequence[float], outcome: float) -> None:
        """Remember one training episode: its scores, shape ``(T,)``, and its outcome R in [0, 1]."""
        if len(scores):
            self._episodes.append((np.asarray(scores, dtype=np.float64), float(outcome)))
            self._curve = None

    def state_dict(self) -> dict[str, Any]:
        """Return the episodes in the window."""
        return {"episodes": [[scores.tolist(), outcome] for scores, outcome in self._episodes]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned.

        Raises:
            CheckpointError: The state is not that of an outcome calibrator.
        """
        try:
            episodes = [(np.asarray(scores, dtype=np.float64), float(outcome)) for scores, outcome in state["episodes"]]
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                "The state of the outcome calibrator must be {'episodes': [[scores, outcome], ...]}; "
                f"it has the keys {sorted(state)!r}. Load the state of the calibrator that the run used."
            ) from error
        self._episodes.clear()
        self._episodes.extend(episodes)
        self._curve = None

    def _fit(self) -> tuple[FloatArray, FloatArray]:
        """Return the mean score and the reward of every bin. Shapes ``(B,)`` and ``(B,)``."""
        outcomes = np.array([outcome for _, outcome in self._episodes])  # (E,)
        spread = outcomes.std()
        if not spread > 0:
            return _ZERO
        scores = np.concatenate([scores for scores, _ in self._episodes])  # (N,)
        lengths = np.array([len(scores) for scores, _ in self._episodes])  # (E,)
        labels = equal_mass_bins(scores, self.bins)  # (N,)
        mass = np.bincount(labels)  # (B,)
        num_bins = len(mass)
        if num_bins == 1:
            return _ZERO
        episode_of = np.repeat(np.arange(len(lengths)), lengths)
        counts = np.bincount(episode_of * num_bins + labels, minlength=len(lengths) * num_bins).reshape(-1, num_bins)  # (E, B)
        contrast = counts / mass - (lengths / len(scores))[:, None]  # (E, B): weight of an episode's outcome in d_b
        effect = contrast.T @ (outcomes / spread)
        noise = (contrast**2).sum(axis=0) * len(outcomes) / (len(outcomes) - 1)
        centres = np.bincount(labels, weights=scores) / mass
        return centres, effect * _shrink_factor(effect, noise, mass / len(scores), self.shrinkage)


def _shrink_factor(effect: FloatArray, noise: FloatArray, share: FloatArray, shrinkage: float) -> FloatArray:
    """Return n_b / (n_b + k) for every bin, where ``noise`` is 1 / n_b. All shapes ``(B,)``."""
    tau_squared = float(share @ (effect**2 - noise))
    if tau_squared <= 0:
        return np.zeros_like(effect)
    return 1 / (1 + noise * max(shrinkage, 1 / tau_squared))
