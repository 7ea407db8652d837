"""SelfEvaluationJudge: the policy that is being trained judges its own episodes."""

import time
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from mise_gym.errors import ConfigError
from mise_gym.rewards.base import FloatArray, JudgeResult, JudgeStatus
from mise_gym.types import Episode


class SelfEvaluator(Protocol):
    """Something, usually a policy, that can say afterwards how good each of its turns was."""

    def self_evaluate(self, episodes: Sequence[Episode]) -> list[FloatArray]:
        """Return one array of beliefs in [0, 1] per episode. Shape of each ``(T,)``."""
        ...


class SelfEvaluationJudge:
    """Takes the beliefs of a policy about its own turns as scores.

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
        """Return the policy's beliefs as scores.

        Too many, too few or not finite, the beliefs of an episode are "unparsable"; a missing episode makes all of them an
        "error".
        """
        started = self._clock()
        beliefs = list(self._evaluator.self_evaluate(episodes))
        seconds = (self._clock() - started) / max(len(episodes), 1)
        if len(beliefs) != len(episodes):
            message = f"The policy evaluated {len(beliefs)} of {len(episodes)} episodes."
            return [JudgeResult(status=JudgeStatus.ERROR, message=message, calls=1, seconds=seconds) for _ in episodes]
        return [_result(np.asarray(belief), len(episode), seconds) for belief, episode in zip(beliefs, episodes, strict=True)]


def _result(belief: FloatArray, num_turns: int, seconds: float) -> JudgeResult:
    if belief.shape == (num_turns,) and np.isfinite(belief).all():
        return JudgeResult(scores=tuple(float(value) for value in belief), calls=1, seconds=seconds)
    given = repr(belief.tolist())
    message = f"The policy must give {num_turns} finite beliefs, one per turn; it gave shape {belief.shape}: {given:.200}."
    return JudgeResult(status=JudgeStatus.UNPARSABLE, message=message, calls=1, seconds=seconds)
