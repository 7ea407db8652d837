"""OutcomeCalibrator: pay for a score what that score has said about success."""

import numpy as np

from mise_gym.errors import ConfigError
from mise_gym.rewards.base import FloatArray
from mise_gym.rewards.binning import equal_mass_bins
from mise_gym.rewards.calibrators.windowed import Curve, History, WindowedCalibrator


class OutcomeCalibrator(WindowedCalibrator):
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
        bins: Largest number of bins. 1 cannot tell scores apart. A bin is too wide for what is rarer than its share of the turns:
            with 10, the one turn in twenty that matters is paid about half of what it is worth. 30, or ``isotonic``, pays it.
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

    name = "outcome"

    def __init__(self, window: int = 500, bins: int = 10, shrinkage: float = 10.0) -> None:
        super().__init__(window, shrinkage)
        if bins < 1:
            raise ConfigError(f"The outcome calibrator got bins={bins!r}. Give bins >= 1.")
        self.bins = bins

    def _curve(self, history: History) -> Curve:
        scores, lengths, outcomes = history.scores, history.lengths, history.outcomes  # (N,), (E,), (E,)
        labels = equal_mass_bins(scores, self.bins)  # (N,)
        mass = np.bincount(labels)  # (B,)
        num_bins = len(mass)
        if num_bins == 1:
            return np.zeros_like
        episode_of = np.repeat(np.arange(len(lengths)), lengths.astype(np.intp))
        counts = np.bincount(episode_of * num_bins + labels, minlength=len(lengths) * num_bins).reshape(-1, num_bins)  # (E, B)
        contrast = counts / mass - (lengths / len(scores))[:, None]  # (E, B): weight of an episode's outcome in d_b
        effect = contrast.T @ (outcomes / history.spread)
        noise = (contrast**2).sum(axis=0) * len(outcomes) / (len(outcomes) - 1)
        centres = np.bincount(labels, weights=scores) / mass
        rewards = effect * _shrink_factor(effect, noise, mass / len(scores), self.shrinkage)
        return lambda scores: np.interp(scores, centres, rewards)


def _shrink_factor(effect: FloatArray, noise: FloatArray, share: FloatArray, shrinkage: float) -> FloatArray:
    """Return n_b / (n_b + k) for every bin, where ``noise`` is 1 / n_b. All shapes ``(B,)``."""
    tau_squared = float(share @ (effect**2 - noise))
    if tau_squared <= 0:
        return np.zeros_like(effect)
    return 1 / (1 + noise * max(shrinkage, 1 / tau_squared))
