"""SelfEvaluationJudge: the policy that is being trained judges its own episodes."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mise_gym.errors import ConfigError
from mise_gym.rewards.base import FloatArray, JudgeResult, JudgeStatus
from mise_gym.types import Episode


@dataclass(frozen=True, slots=True)
class SelfEvaluation:
    """What a policy says in hindsight about one of its episodes."""

    scores: FloatArray
    """How good each turn was, in [0, 1]. Shape ``(T,)``."""
    belief: float | None = None
    """How far it believes the task was done, in [0, 1]; ``None`` where it was not asked."""


class SelfEvaluator(Protocol):
    """Something, usually a policy, that can say afterwards how good each of its turns was, and how well it did in all."""

    def self_evaluate(self, episodes: Sequence[Episode]) -> list[SelfEvaluation]:
        """Return one self-evaluation per episode."""
        ...


class SelfEvaluationJudge:
    """Takes what a policy says about its own turns as scores.

    Args:
        evaluator: The policy, alive: its present weights judge. There is no way to name it.
        clock: Seconds from anywhere; measures the cost.

    Raises:
        ConfigError: ``evaluator`` cannot evaluate itself.
    """

    name = "self"

    def __init__(self, evaluator: SelfEvaluator | None = None, clock: Callable[[], float] = time.perf_counter) -> None:
        if not callable(getattr(evaluator, "self_evaluate", None)):
            raise ConfigError(
                f"The judge 'self' needs a live policy with a self_evaluate method; it got evaluator={evaluator!r}. "
                "Pass judge=SelfEvaluationJudge(policy) in place of the name."
            )
        self._evaluator: SelfEvaluator = evaluator  # type: ignore[assignment]  # checked above
        self._clock = clock

    def judge(self, episodes: Sequence[Episode]) -> list[JudgeResult]:
        """Return the policy's scores, and its beliefs in success.

        Too many, too few or not finite, the scores of an episode are "unparsable"; a missing episode makes all of them an
        "error".
        """
        started = self._clock()
        said = list(self._evaluator.self_evaluate(episodes))
        seconds = (self._clock() - started) / max(len(episodes), 1)
        if len(said) != len(episodes):
            message = f"The policy evaluated {len(said)} of {len(episodes)} episodes."
            return [JudgeResult(status=JudgeStatus.ERROR, message=message, calls=1, seconds=seconds) for _ in episodes]
        return [_result(each, len(episode), seconds) for each, episode in zip(said, episodes, strict=True)]


def _result(said: SelfEvaluation, num_turns: int, seconds: float) -> JudgeResult:
    scores = np.asarray(said.scores)
    if scores.shape == (num_turns,) and np.isfinite(scores).all():
        return JudgeResult(scores=tuple(scores.tolist()), belief=said.belief, calls=1, seconds=seconds)
    given = repr(scores.tolist())
    message = f"The policy must give {num_turns} finite scores, one per turn; it gave shape {scores.shape}: {given:.200}."
    return JudgeResult(status=JudgeStatus.UNPARSABLE, message=message, calls=1, seconds=seconds)
