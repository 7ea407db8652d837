"""WindowedCalibrator: what the calibrators that learn from recent episodes share: the window, the state and the units."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from mise_gym.errors import CheckpointError, ConfigError
from mise_gym.rewards.base import FloatArray

Curve = Callable[[FloatArray], FloatArray]
"""A function of scores. Shape ``(N,)`` -> ``(N,)``."""


@dataclass(frozen=True, slots=True)
class History:
    """The episodes in a window: E episodes with N turns in all."""

    scores: FloatArray
    """Of all turns, episode after episode. Shape ``(N,)``."""
    lengths: FloatArray
    """Turns of each episode. Shape ``(E,)``."""
    outcomes: FloatArray
    """R of each episode. Shape ``(E,)``."""

    @property
    def spread(self) -> float:
        """The standard deviation of R over episodes, sd(R)."""
        return float(self.outcomes.std())

    @property
    def mean(self) -> float:
        """The mean of R over turns, E[R]."""
        return float(self.lengths @ self.outcomes / self.lengths.sum())


@dataclass(frozen=True, slots=True)
class _Fitted:
    reward: Curve
    mean: float
    spread: float


def _nothing(scores: FloatArray) -> FloatArray:
    return np.zeros_like(scores, dtype=np.float64)


_IGNORANT = _Fitted(_nothing, mean=0.5, spread=0.0)


class WindowedCalibrator(ABC):
    """Learns c(s) = (E[R | s] - E[R]) / sd(R) online from the episodes of a window; how is up to the subclass.

    c is exactly 0 before any data, and when all outcomes in the window are equal.

    Args:
        window: Number of recent episodes to learn from.
        shrinkage: How many episodes the assumption "scores say nothing" is worth.

    Raises:
        ConfigError: An argument is out of range.
    """

    name: ClassVar[str]

    def __init__(self, window: int, shrinkage: float) -> None:
        if window < 1 or shrinkage < 0:
            raise ConfigError(
                f"The {self.name} calibrator got window={window!r}, shrinkage={shrinkage!r}. Give window >= 1 and shrinkage >= 0."
            )
        self.shrinkage = shrinkage
        self._episodes: deque[tuple[FloatArray, float]] = deque(maxlen=window)
        self._fitted: _Fitted | None = _IGNORANT

    def __call__(self, scores: FloatArray) -> FloatArray:
        """Return c(s) of every score. Shape ``(T,)`` -> ``(T,)``."""
        return self._fit().reward(scores)

    def beliefs(self, scores: FloatArray) -> FloatArray:
        """Return E[R | s], the calibrated belief in success, in [0, 1]; 0.5 before any data. Shape ``(T,)`` -> ``(T,)``."""
        fitted = self._fit()
        return np.clip(fitted.mean + fitted.spread * fitted.reward(scores), 0.0, 1.0)

    def update(self, scores: Sequence[float], outcome: float) -> None:
        """Remember one training episode: its scores, shape ``(T,)``, and its outcome R in [0, 1]."""
        if len(scores):
            self._episodes.append((np.asarray(scores, dtype=np.float64), float(outcome)))
            self._fitted = None

    def state_dict(self) -> dict[str, Any]:
        """Return the episodes in the window."""
        return {"episodes": [[scores.tolist(), outcome] for scores, outcome in self._episodes]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned.

        Raises:
            CheckpointError: The state is not that of a calibrator with a window.
        """
        try:
            episodes = [(np.asarray(scores, dtype=np.float64), float(outcome)) for scores, outcome in state["episodes"]]
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"The state of the {self.name} calibrator must be {{'episodes': [[scores, outcome], ...]}}; "
                f"it has the keys {sorted(state)!r}. Load the state of the calibrator that the run used."
            ) from error
        self._episodes.clear()
        self._episodes.extend(episodes)
        self._fitted = None if episodes else _IGNORANT

    @abstractmethod
    def _curve(self, history: History) -> Curve:
        """Return c, learnt from episodes of which at least two have different outcomes."""

    def _fit(self) -> _Fitted:
        if self._fitted is None:
            history = History(
                np.concatenate([scores for scores, _ in self._episodes]),
                np.array([len(scores) for scores, _ in self._episodes], dtype=np.float64),
                np.array([outcome for _, outcome in self._episodes]),
            )
            reward = self._curve(history) if history.spread > 0 else _nothing
            self._fitted = _Fitted(reward, history.mean, history.spread)
        return self._fitted
