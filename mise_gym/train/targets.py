"""BeliefTargets: what the self-evaluation is taught to believe of each turn."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mise_gym.rewards.base import FloatArray, RewardBreakdown
from mise_gym.rewards.calibrators.outcome import OutcomeCalibrator
from mise_gym.types import Episode


class BeliefTargets:
    """Turns scores into calibrated beliefs: the mean outcome, over recent episodes, of turns with such a score, E[R | s].

    The target of a turn is not the outcome of its own episode. A judge that has read the episode knows that outcome; taught to
    repeat it, it gives all turns the same score, and the credit is gone. See ``docs/theory.md``.
    """

    def __init__(self) -> None:
        self._calibrator = OutcomeCalibrator()

    def learn(self, episodes: Sequence[Episode], rewards: Sequence[RewardBreakdown]) -> list[FloatArray]:
        """Learn from episodes, and return the target of each of their turns.

        Args:
            episodes: Finished episodes.
            rewards: Their rewards, with scores; an episode that could not be judged has its outcome as target.

        Returns:
            One array per episode. Shape ``(T,)``, in [0, 1].
        """
        for episode, reward in zip(episodes, rewards, strict=True):
            self._calibrator.update(reward.scores or (), episode.progress)
        return [self._of(episode, reward) for episode, reward in zip(episodes, rewards, strict=True)]

    def _of(self, episode: Episode, reward: RewardBreakdown) -> FloatArray:
        if reward.scores is None:
            return np.full(len(episode), episode.progress)
        return self._calibrator.beliefs(np.array(reward.scores))

    def state_dict(self) -> dict[str, Any]:
        """Return the recent episodes."""
        return self._calibrator.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        self._calibrator.load_state_dict(state)
