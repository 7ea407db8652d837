"""The sockets of the rewards room: what a judge and a calibrator must do, and the records they exchange."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mise_gym.types import Episode

FloatArray = NDArray[np.float64]


COSTS: Final = ("calls", "tokens", "seconds", "cost")
"""What ``JudgeResult`` counts; it adds up over requests."""


class JudgeStatus(StrEnum):
    """How a request to a judge ended."""

    OK = "ok"
    UNPARSABLE = "unparsable"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    RATE_LIMITED = "rate_limited"
    BUDGET = "budget"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeResult:
    """What a judge says of one episode; ``scores`` is ``None`` exactly when ``status`` is not ``OK``."""

    status: JudgeStatus = JudgeStatus.OK
    scores: tuple[float, ...] | None = None
    """One hindsight score in [0, 1] per turn."""
    belief: float | None = None
    """How far the judge believes the task was done, in [0, 1]; ``None`` where it was not asked about the whole episode."""
    message: str = ""
    """Why there are no scores."""
    calls: int = 0
    tokens: int = 0
    seconds: float = 0.0
    cost: float = 0.0
    """Money, in the currency of the prices that the judge was given."""
    reasons: tuple[str, ...] = ()
    """Why, one sentence per turn; empty when the judge was not asked."""
    disagreement: tuple[float, ...] = ()
    """Per turn, how far several judges are apart; empty for one judge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What judging episodes would take; judges that cost something have ``estimate(episodes)``, which asks nobody."""

    episodes: int
    requests: int
    """Requests to send, if none has to be repeated."""
    cached: int
    """Requests that a cache answers."""
    input_tokens: int
    """Estimated from the number of characters, like ``output_tokens``."""
    output_tokens: int
    cost: float
    """In the currency of the prices; 0 without prices."""


class Judge(Protocol):
    """Scores every turn of finished episodes, in hindsight.

    A judge that costs something may have ``estimate(episodes) -> Estimate``; one that asks a model ``prompts(episode)``, which
    returns what it would send; and one that holds connections ``close()``.
    """

    name: str

    def judge(self, episodes: Sequence[Episode]) -> list[JudgeResult]:
        """Return one result per episode, in order. A failure is a status, never a score."""
        ...


class Calibrator(Protocol):
    """Turns raw scores into rewards, and may learn from outcomes."""

    def __call__(self, scores: FloatArray) -> FloatArray:
        """Map scores to rewards. Shape ``(T,)`` -> ``(T,)``."""
        ...

    def update(self, scores: Sequence[float], outcome: float) -> None:
        """Learn from one training episode: its scores, shape ``(T,)``, and its outcome R in [0, 1]."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return everything learnt, JSON-serialisable."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        ...


@runtime_checkable
class ReadsEpisodes(Protocol):
    """What a calibrator may do besides: look at the episode, for its kind of task, or whether it has ended."""

    def for_episode(self, episode: Episode) -> Calibrator:
        """Return the calibrator to call and to update for this episode; its state is part of this one's."""
        ...


def calibrator_of(calibrator: Calibrator, episode: Episode) -> Calibrator:
    """Return the calibrator of an episode: ``calibrator`` itself, unless it reads episodes."""
    for_episode: Callable[[Episode], Calibrator] | None = getattr(calibrator, "for_episode", None)  # isinstance takes 10 us
    return calibrator if for_episode is None else for_episode(episode)


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardBreakdown:
    """The reward of one episode, part by part; all sequences have one entry per turn."""

    env_rewards: tuple[float, ...]
    scores: tuple[float, ...] | None
    """Raw hindsight scores; ``None`` when the judge failed."""
    calibrated: tuple[float, ...] | None
    """r^H_t = c(s_t); ``None`` when the judge failed."""
    step_rewards: tuple[float, ...]
    """r_t = w_env e_t + w_hindsight r^H_t: what the learner gets."""
    status: JudgeStatus
    judge: dict[str, Any]
    """Name, calls, tokens, seconds and cost of the judge, and its belief, message, reasons and disagreement where it has them."""
