"""WindowedCalibrator: what the calibrators that learn from recent episodes share: the window, the state and the units."""

from abc import ABC, abstractmethod
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

    @classmethod
    def of(cls, episodes: Sequence[tuple[FloatArray, float]]) -> "History":
        """Return the history of episodes: the scores of each, shape ``(T,)``, and its outcome."""
        return cls(
            np.concatenate([np.zeros(0), *(scores for scores, _ in episodes)]),
            np.array([len(scores) for scores, _ in episodes], dtype=np.float64),
            np.array([outcome for _, outcome in episodes], dtype=np.float64),
        )

    def followed_by(self, scores: FloatArray, outcome: float, window: int) -> "History":
        """Return the history with one more episode, the last ``window`` of them."""
        surplus = max(0, len(self.outcomes) + 1 - window)
        forgotten = int(self.lengths[:surplus].sum())
        return History(
            np.concatenate([self.scores[forgotten:], scores]),
            np.concatenate([self.lengths[surplus:], [len(scores)]]),
            np.concatenate([self.outcomes[surplus:], [outcome]]),
        )

    def episodes(self) -> list[tuple[FloatArray, float]]:
        """Return the scores and the outcome of each episode."""
        ends = np.cumsum(self.lengths[:-1]).astype(np.intp)
        return list(zip(np.split(self.scores, ends), self.outcomes.tolist(), strict=False))  # split gives one part of nothing

    @property
    def says_something(self) -> bool:
        """Whether there are different outcomes and different scores."""
        return len(self.outcomes) > 0 and bool(np.ptp(self.outcomes) > 0 and np.ptp(self.scores) > 0)

    @property
    def spread(self) -> float:
        """The standard deviation of R over episodes, sd(R); 0 without any."""
        return float(self.outcomes.std()) if len(self.outcomes) else 0.0

    @property
    def mean(self) -> float:
        """The mean of R over turns, E[R]; 0.5 without any."""
        return float(self.lengths @ self.outcomes / self.lengths.sum()) if len(self.outcomes) else 0.5


def _nothing(scores: FloatArray) -> FloatArray:
    return np.zeros(scores.shape)


class WindowedCalibrator(ABC):
    """Learns c(s) = (E[R | s] - E[R]) / sd(R) online from the episodes of a window; how is up to the subclass.

    c is exactly 0 before any data, and when all outcomes or all scores in the window are equal.

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
        self.window = window
        self._history = History.of([])
        self._fitted: Curve | None = None

    def __call__(self, scores: FloatArray) -> FloatArray:
        """Return c(s) of every score. Shape ``(T,)`` -> ``(T,)``."""
        return self._fit()(scores)

    def beliefs(self, scores: FloatArray) -> FloatArray:
        """Return E[R | s], the calibrated belief in success, in [0, 1]; 0.5 before any data. Shape ``(T,)`` -> ``(T,)``."""
        return np.clip(self._history.mean + self._history.spread * self(scores), 0.0, 1.0)

    def update(self, scores: Sequence[float], outcome: float) -> None:
        """Remember one training episode: its scores, shape ``(T,)``, and its outcome R in [0, 1]."""
        if len(scores):
            self._history = self._history.followed_by(np.asarray(scores, dtype=np.float64), float(outcome), self.window)
            self._fitted = None

    def state_dict(self) -> dict[str, Any]:
        """Return the episodes in the window."""
        return {"episodes": [[scores.tolist(), outcome] for scores, outcome in self._history.episodes()]}

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
        self._history = History.of(episodes[-self.window :])
        self._fitted = None

    @abstractmethod
    def _curve(self, history: History) -> Curve:
        """Return c, learnt from episodes with different outcomes and different scores."""

    def _fit(self) -> Curve:
        if self._fitted is None:
            self._fitted = self._curve(self._history) if self._history.says_something else _nothing
        return self._fitted
