"""FlippedJudge and NoisyJudge: another judge made worse, for tests and ablations."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mise_gym.errors import ConfigError
from mise_gym.rewards.base import FloatArray, Judge, JudgeResult
from mise_gym.rewards.catalog import make_judge
from mise_gym.types import Episode


class FlippedJudge:
    """Says the opposite of another judge: 1 - s.

    Args:
        judge: Name of the other judge, ``"module:Class"``, or a judge.
        judge_kwargs: Keyword arguments of the other judge when it is named.
    """

    def __init__(self, judge: str | Judge = "oracle", judge_kwargs: Mapping[str, Any] | None = None) -> None:
        self.inner = make_judge(judge, judge_kwargs)
        self.name = f"flipped({self.inner.name})"

    def judge(self, episodes: Sequence[Episode]) -> list[JudgeResult]:
        """Return the other judge's results with every score, and the belief, flipped."""
        flipped = [_map_scores(result, lambda scores: 1 - scores) for result in self.inner.judge(episodes)]
        return [each if each.belief is None else replace(each, belief=1 - each.belief) for each in flipped]


class NoisyJudge:
    """Replaces a part of every score of another judge by noise: (1 - amount) s + amount u, u uniform in [0, 1].

    Args:
        judge: Name of the other judge, ``"module:Class"``, or a judge.
        judge_kwargs: Keyword arguments of the other judge when it is named.
        amount: 0 leaves the scores alone, 1 leaves nothing of them: an uninformative judge.
        seed: Seed of the noise. The noise goes on from call to call, so the same episode gets other noise when it is judged
            again.

    Raises:
        ConfigError: ``amount`` is outside [0, 1].
    """

    def __init__(
        self, judge: str | Judge = "oracle", judge_kwargs: Mapping[str, Any] | None = None, amount: float = 0.5, seed: int = 0
    ) -> None:
        if not 0 <= amount <= 1:
            raise ConfigError(f"NoisyJudge got amount={amount!r}. Give a number in [0, 1].")
        self.inner = make_judge(judge, judge_kwargs)
        self.name = f"noisy({self.inner.name})"
        self.amount = amount
        self._rng = np.random.default_rng(seed)

    def judge(self, episodes: Sequence[Episode]) -> list[JudgeResult]:
        """Return the other judge's results with noise in every score."""
        return [_map_scores(result, self._disturb) for result in self.inner.judge(episodes)]

    def _disturb(self, scores: FloatArray) -> FloatArray:
        return (1 - self.amount) * scores + self.amount * self._rng.random(len(scores))


def _map_scores(result: JudgeResult, change: Callable[[FloatArray], FloatArray]) -> JudgeResult:
    """Return ``result`` with its scores changed; a failure stays as it is."""
    if result.scores is None:
        return result
    return replace(result, scores=tuple(change(np.array(result.scores)).tolist()), reasons=())
