"""EnsembleJudge: several judges, one score."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Literal, Protocol, runtime_checkable

import numpy as np

from mise_gym.errors import ConfigError
from mise_gym.registry import unknown_name
from mise_gym.rewards.base import COSTS, Estimate, FloatArray, Judge, JudgeResult
from mise_gym.rewards.catalog import make_judge
from mise_gym.rewards.pipeline import ask
from mise_gym.types import Episode

_COMBINATIONS: Final[Mapping[str, Callable[..., FloatArray]]] = {"mean": np.mean, "median": np.median}
_SUMMED: Final = ("requests", "cached", "input_tokens", "output_tokens", "cost")


@runtime_checkable
class _Estimates(Protocol):
    def estimate(self, episodes: Sequence[Episode]) -> Estimate: ...


class EnsembleJudge:
    """Asks several judges at the same time and combines their scores turn by turn.

    ``JudgeResult.disagreement`` is the standard deviation of their scores on each turn, from 0 (all agree) to 0.5 (half say 0,
    half say 1). Costs are added up.

    Args:
        judges: At least two judges; each is a name, a judge, or ``{"judge": name, "judge_kwargs": {...}}``.
        combine: ``"mean"``, or ``"median"``, which a single judge that is far off cannot move much.
        quorum: How many judges must have scored an episode; ``None`` is all of them. With fewer, the episode has the status of
            the first judge that failed.

    Raises:
        ConfigError: There are fewer than two judges, or ``quorum`` is not between 1 and their number.
        UnknownNameError: No such judge or combination.
    """

    def __init__(
        self,
        judges: Sequence[str | Judge | Mapping[str, Any]],
        combine: Literal["mean", "median"] = "mean",
        quorum: int | None = None,
    ) -> None:
        if combine not in _COMBINATIONS:
            raise unknown_name("combination", combine, _COMBINATIONS)
        self.members = [_member(judge) for judge in judges]
        self.quorum = len(self.members) if quorum is None else quorum
        if len(self.members) < 2 or not 1 <= self.quorum <= len(self.members):
            raise ConfigError(
                f"EnsembleJudge got {len(self.members)} judges and quorum={quorum!r}. "
                "Give at least two judges, and a quorum from 1 to their number."
            )
        self.name = f"{combine}({', '.join(member.name for member in self.members)})"
        self._combine = combine

    def judge(self, episodes: Sequence[Episode]) -> list[JudgeResult]:
        """Return the combined result of every episode."""
        with ThreadPoolExecutor(len(self.members)) as threads:
            answers = list(threads.map(lambda member: ask(member, episodes), self.members))
        return [self._combined(results) for results in zip(*answers, strict=True)]

    def estimate(self, episodes: Sequence[Episode]) -> Estimate:
        """Return what judging these episodes would take, summed over the judges that cost something."""
        parts = [member.estimate(episodes) for member in self.members if isinstance(member, _Estimates)]
        sums: dict[str, Any] = {name: sum(getattr(part, name) for part in parts) for name in _SUMMED}
        return Estimate(episodes=len(episodes), **sums)

    def prompts(self, episode: Episode) -> list[str]:
        """Return what the judges that ask a model would ask about an episode."""
        asked = [getattr(member, "prompts", None) for member in self.members]
        return [text for ask_member in asked if ask_member is not None for text in ask_member(episode)]

    def _combined(self, results: Sequence[JudgeResult]) -> JudgeResult:
        costs: dict[str, Any] = {name: sum(getattr(result, name) for result in results) for name in COSTS}
        scores = [result.scores for result in results if result.scores is not None]
        if len(scores) < self.quorum:
            pairs = zip(self.members, results, strict=True)
            name, first = next((member.name, result) for member, result in pairs if result.scores is None)
            message = f"{len(scores)} of {len(results)} judges gave scores; {name}: {first.message or 'no message'}"
            return JudgeResult(status=first.status, message=message, **costs)
        table = np.array(scores, dtype=np.float64)
        combined = _COMBINATIONS[self._combine](table, axis=0)
        return JudgeResult(scores=tuple(combined.tolist()), disagreement=tuple(table.std(axis=0).tolist()), **costs)


def _member(judge: str | Judge | Mapping[str, Any]) -> Judge:
    if not isinstance(judge, Mapping):
        return make_judge(judge)
    if not {"judge"} <= judge.keys() <= {"judge", "judge_kwargs"}:
        raise ConfigError(f"A judge of an ensemble has the keys {sorted(judge)!r}. Give 'judge' and perhaps 'judge_kwargs'.")
    return make_judge(judge["judge"], judge.get("judge_kwargs"))
