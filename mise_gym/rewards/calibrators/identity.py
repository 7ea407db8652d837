"""IdentityCalibrator and CentredCalibrator: fixed maps, the baselines that MISE is compared with."""

from collections.abc import Sequence
from typing import Any

from mise_gym.rewards.base import FloatArray


class IdentityCalibrator:
    """c(s) = s: the score is the reward (a vanilla process reward).

    Note:
        Every turn pays, so an agent earns more by not finishing; ``examples/why_calibrate.py`` shows it.
    """

    def __call__(self, scores: FloatArray) -> FloatArray:
        """Return the scores. Shape ``(T,)`` -> ``(T,)``."""
        return scores.copy()

    def update(self, scores: Sequence[float], outcome: float) -> None:
        """Learn nothing."""

    def state_dict(self) -> dict[str, Any]:
        """Return the empty state."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Accept the empty state."""


class CentredCalibrator(IdentityCalibrator):
    """c(s) = 2s - 1: a score of one half pays nothing; a judge that is always generous still pays for every turn."""

    def __call__(self, scores: FloatArray) -> FloatArray:
        """Return 2s - 1. Shape ``(T,)`` -> ``(T,)``."""
        return 2 * scores - 1
