"""What adapts slowly while training goes on: the scale of rewards, the weight of the KL penalty, the learning rate."""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from mise_gym.train.advantages import FloatArray

_KL_GAIN: Final = 0.1
_LARGEST_ERROR: Final = 0.2


class ReturnScale:
    """The standard deviation of all returns seen so far: rewards divided by it give returns of about unit size.

    Nothing is subtracted, as a constant per turn would pay or punish long episodes.

    Example:
        >>> scale = ReturnScale()
        >>> scale.update([np.array([0.0, 10.0])])
        >>> scale.value
        5.0

    References:
        Engstrom et al., Implementation Matters in Deep Policy Gradients, arXiv 2005.12729, section 3 (reward scaling). Chan,
        Golub and LeVeque, Algorithms for computing the sample variance, 1983 (adding up the parts).
    """

    def __init__(self) -> None:
        self._count, self._mean, self._squares = 0, 0.0, 0.0

    @property
    def value(self) -> float:
        """The scale; 1 before any data and while all returns are equal."""
        spread = math.sqrt(self._squares / self._count) if self._count else 0.0
        return spread if spread > 1e-8 else 1.0

    def update(self, returns: Sequence[FloatArray]) -> None:
        """Learn from the returns of some episodes, one array of shape ``(T,)`` each."""
        new = np.concatenate(returns)
        count, mean = self._count + len(new), float(new.mean())
        gap = mean - self._mean
        self._squares += float(((new - mean) ** 2).sum()) + gap**2 * self._count * len(new) / count
        self._mean += gap * len(new) / count
        self._count = count

    def state_dict(self) -> dict[str, float]:
        """Return what was learnt."""
        return {"count": self._count, "mean": self._mean, "squares": self._squares}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Restore what ``state_dict`` returned."""
        self._count, self._mean, self._squares = int(state["count"]), state["mean"], state["squares"]


def adapted_kl_coef(kl_coef: float, kl: float, target: float) -> float:
    """Return the weight of the KL penalty after an update that ended at ``kl``: larger above the target, smaller below.

    Args:
        kl_coef: The weight until now.
        kl: KL to the reference per decision, in nats.
        target: What it should be.

    References:
        Ziegler et al., Fine-Tuning Language Models from Human Preferences, arXiv 1909.08593, section 2.2: a proportional
        controller with gain 0.1 on the relative error, which counts for at most 0.2.
    """
    error = min(max(kl / target - 1, -_LARGEST_ERROR), _LARGEST_ERROR)
    return kl_coef * (1 + _KL_GAIN * error)


def learning_rate_factor(done: int, total: int, *, warmup: int, decays: bool) -> float:
    """Return the part of the learning rate that iteration number ``done`` (from 0) of ``total`` uses.

    Args:
        done: Iterations finished.
        total: Iterations of the whole run.
        warmup: Iterations over which it rises evenly to 1; 0 starts with all of it.
        decays: Whether it falls evenly, to 0 after the last iteration, or stays.

    Example:
        >>> [learning_rate_factor(done, 4, warmup=1, decays=True) for done in range(4)]
        [0.5, 0.75, 0.5, 0.25]
    """
    rising = min(1.0, (done + 1) / (warmup + 1))
    return rising * max(0.0, 1 - done / total) if decays else rising
