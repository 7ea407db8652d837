"""PotentialCalibrator: potential-based shaping, which cannot change what the best policy is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mise_gym.errors import ConfigError
from mise_gym.rewards.base import Calibrator, FloatArray, calibrator_of
from mise_gym.rewards.catalog import make_calibrator
from mise_gym.types import Episode


class PotentialCalibrator:
    """F_t = gamma Phi(s_t) - Phi(s_{t-1}): a turn is paid for the change of the calibrated belief, not for its level.

    The score of a turn, calibrated by another calibrator, is the potential of the state that the turn led to: with ``outcome``,
    how far the belief in success lies above the success rate, in standard deviations of R. The state before the first turn and
    the end of an episode have the potential 0. So the discounted sum of F over an episode is exactly 0, whatever the judge says:
    no judge, however wrong, can change which policy is best, only how fast it is found.

    Args:
        gamma: The learner's discount per turn, in [0, 1]. The guarantee holds for this discount only.
        calibrator: Name of the calibrator that makes potentials of scores ("per-task" too), ``"module:Class"``, or a calibrator.
        calibrator_kwargs: Keyword arguments of a named calibrator.

    Raises:
        ConfigError: ``gamma`` is outside [0, 1].
        UnknownNameError: No such calibrator.

    Note:
        Deliver it turn by turn (``info`` or ``step``): summed up at the end (``terminal``) F is discounted wrongly unless gamma
        is 1. In ``step`` a running episode is paid up to its last state and the end pays the potential back; that adds up to 0
        when the judge keeps to its earlier scores and the calibrator does not learn in the middle of the episode.

    References:
        Ng, Harada and Russell, "Policy invariance under reward transformations", ICML 1999; Grzes, "Reward shaping in episodic
        reinforcement learning", AAMAS 2017, for the potential of the end.

    Example:
        >>> shaping = PotentialCalibrator(gamma=0.5, calibrator="identity")
        >>> rewards = shaping(np.array([0.8, 0.4, 0.9]))
        >>> rewards.round(2).tolist(), bool(abs(rewards @ [1, 0.5, 0.25]) < 1e-12)
        ([0.4, -0.6, -0.4], True)
    """

    def __init__(
        self,
        gamma: float = 0.99,
        calibrator: str | Calibrator = "outcome",
        calibrator_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        if not 0 <= gamma <= 1:
            raise ConfigError(f"The potential calibrator got gamma={gamma!r}. Give the learner's discount, in [0, 1].")
        self.gamma = gamma
        self.inner = make_calibrator(calibrator, calibrator_kwargs)

    def __call__(self, scores: FloatArray) -> FloatArray:
        """Return F of every turn of a finished episode. Shape ``(T,)`` -> ``(T,)``."""
        return shape(self.inner(scores), self.gamma, has_ended=True)

    def for_episode(self, episode: Episode) -> Calibrator:
        """Return the calibrator of one episode, which knows whether it has ended."""
        return _Bound(calibrator_of(self.inner, episode), self.gamma, has_ended=episode.terminated or episode.truncated)

    def update(self, scores: Sequence[float], outcome: float) -> None:
        """Let the inner calibrator learn."""
        self.inner.update(scores, outcome)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the inner calibrator."""
        return self.inner.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the inner calibrator."""
        self.inner.load_state_dict(state)


def shape(potentials: FloatArray, gamma: float, *, has_ended: bool) -> FloatArray:
    """Return gamma Phi_{t+1} - Phi_t of every turn, given the potentials of the states that the turns led to.

    Args:
        potentials: Shape ``(T,)``.
        gamma: Discount per turn.
        has_ended: Whether the last state is the end, whose potential is 0.

    Returns:
        Shape ``(T,)``.
    """
    if not len(potentials):
        return np.zeros(0)
    before = np.concatenate([[0.0], potentials[:-1]])
    after = np.concatenate([potentials[:-1], [0.0 if has_ended else potentials[-1]]])
    return np.asarray(gamma * after - before)


@dataclass(frozen=True, slots=True)
class _Bound:
    """A potential calibrator for one episode."""

    inner: Calibrator
    gamma: float
    has_ended: bool

    def __call__(self, scores: FloatArray) -> FloatArray:
        return shape(self.inner(scores), self.gamma, has_ended=self.has_ended)

    def update(self, scores: Sequence[float], outcome: float) -> None:
        self.inner.update(scores, outcome)

    def state_dict(self) -> dict[str, Any]:
        return self.inner.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.inner.load_state_dict(state)
