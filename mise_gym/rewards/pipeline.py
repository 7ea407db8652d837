"""RewardPipeline: judge, then calibrate, then mix. The only place where the three meet."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, Literal

import numpy as np

from mise_gym.errors import CheckpointError, ConfigError, JudgeError
from mise_gym.rewards.base import COSTS, Calibrator, Judge, JudgeResult, JudgeStatus, RewardBreakdown, calibrator_of
from mise_gym.rewards.catalog import make_calibrator, make_judge
from mise_gym.rewards.mixing import mix
from mise_gym.types import Episode

OnJudgeFailure = Literal["environment", "raise"]

_WORTH_RETRYING: Final = {JudgeStatus.UNPARSABLE, JudgeStatus.TIMEOUT, JudgeStatus.RATE_LIMITED, JudgeStatus.ERROR}
_NO_TURNS: Final = JudgeResult(scores=())


class RewardPipeline:
    """Turns finished episodes into rewards, and learns from them afterwards.

    Call ``reward`` for a batch of episodes and then ``learn`` with the same batch, so that no episode is paid by a calibrator
    that has seen its outcome.

    Args:
        judge: A judge, its name, or ``"module:Class"``.
        calibrator: A calibrator, its name, or ``"module:Class"``. Pass one calibrator to several pipelines to share what it
            learns.
        w_env: Weight of the environment's reward.
        w_hindsight: Weight of the calibrated hindsight reward; 0 still judges, for diagnosis.
        on_judge_failure: ``"environment"`` leaves an episode that could not be judged with its environment reward, flagged by
            its status; ``"raise"`` raises.
        retries: How often a failed episode is judged again, unless the judge refused or its budget is spent.
        max_failures: Failed episodes in a row after which the judge is taken for broken.

    Raises:
        UnknownNameError: No such judge or calibrator.
        ConfigError: An argument is out of range.
    """

    def __init__(  # noqa: PLR0913  # knobs, keyword-only
        self,
        judge: str | Judge = "auto",
        calibrator: str | Calibrator = "outcome",
        *,
        w_env: float = 1.0,
        w_hindsight: float = 0.25,
        on_judge_failure: OnJudgeFailure = "environment",
        retries: int = 1,
        max_failures: int = 100,
    ) -> None:
        _check(w_env, w_hindsight, on_judge_failure, retries, max_failures)
        self.judge = make_judge(judge)
        self.calibrator = make_calibrator(calibrator)
        self.w_env = w_env
        self.w_hindsight = w_hindsight
        self.on_judge_failure = on_judge_failure
        self.retries = retries
        self.max_failures = max_failures
        self.judged = 0
        """Episodes that got scores."""
        self.failed: Counter[str] = Counter()
        """Episodes without scores, by status."""
        self._failures_in_a_row = 0

    def reward(self, episodes: Sequence[Episode]) -> list[RewardBreakdown]:
        """Judge all episodes in one request, but those without turns, and return their rewards; nothing is learnt.

        Raises:
            JudgeError: As in ``score``.
        """
        results = iter(self.score([episode for episode in episodes if episode.transitions]))
        return [self._breakdown(episode, next(results) if episode.transitions else _NO_TURNS) for episode in episodes]

    def score(self, episodes: Sequence[Episode]) -> list[JudgeResult]:
        """Return one valid result per episode after retries, and count what came of it.

        Args:
            episodes: Finished or running, of one turn or more. All go to the judge in one request.

        Raises:
            JudgeError: An episode could not be judged and ``on_judge_failure`` is ``"raise"``, or ``max_failures`` failed in a
                row.
        """
        results = ask(self.judge, episodes)
        for _ in range(self.retries):
            again = [index for index, result in enumerate(results) if result.scores is None and result.status in _WORTH_RETRYING]
            if not again:
                break
            for index, result in zip(again, ask(self.judge, [episodes[index] for index in again]), strict=True):
                results[index] = _add_costs(result, results[index])
        for result in results:
            self._count(result)
        return results

    def calibrate(self, episode: Episode, result: JudgeResult) -> list[float] | None:
        """Return c(s_t) of every turn of a judged episode; ``None`` when the judge failed."""
        if result.scores is None:
            return None
        rewards: list[float] = calibrator_of(self.calibrator, episode)(np.array(result.scores, dtype=np.float64)).tolist()
        return rewards

    def judgement(self, result: JudgeResult) -> dict[str, Any]:
        """Return who judged, at what cost, and what was said besides the scores."""
        judgement = {"name": self.judge.name, **{name: getattr(result, name) for name in COSTS}}
        if result.belief is not None:
            judgement["belief"] = result.belief
        if result.message:
            judgement["message"] = result.message
        if result.reasons:
            judgement["reasons"] = list(result.reasons)
        if result.disagreement:
            judgement["disagreement"] = list(result.disagreement)
        return judgement

    def learn(self, episodes: Sequence[Episode], breakdowns: Sequence[RewardBreakdown]) -> None:
        """Let the calibrator learn from the scores and outcomes of training episodes.

        Those without scores teach nothing, and neither do those of another split than "train": what is held out stays held out,
        whoever forgets to say so. Episodes that name no split are taken for training.
        """
        for episode, breakdown in zip(episodes, breakdowns, strict=True):
            if breakdown.scores is not None and episode.split in ("", "train"):
                calibrator_of(self.calibrator, episode).update(breakdown.scores, episode.progress)

    def state_dict(self) -> dict[str, Any]:
        """Return what the calibrator has learnt and the counters, JSON-serialisable."""
        return {
            "calibrator": self.calibrator.state_dict(),
            "judged": self.judged,
            "failed": dict(self.failed),
            "failures_in_a_row": self._failures_in_a_row,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned.

        Raises:
            CheckpointError: The state is not that of a pipeline with this calibrator.
        """
        try:
            judged, failed, in_a_row = int(state["judged"]), Counter(state["failed"]), int(state["failures_in_a_row"])
            self.calibrator.load_state_dict(state["calibrator"])
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"The state of a reward pipeline needs calibrator, failed, failures_in_a_row, judged; it has {sorted(state)!r}."
            ) from error
        self.judged, self.failed, self._failures_in_a_row = judged, failed, in_a_row

    def _count(self, result: JudgeResult) -> None:
        if result.status is JudgeStatus.OK:
            self.judged += 1
            self._failures_in_a_row = 0
            return
        self.failed[result.status.value] += 1
        self._failures_in_a_row += 1
        reason = f"{result.status.value}: {result.message or 'no message'}"
        if self.on_judge_failure == "raise":
            raise JudgeError(
                f"The judge {self.judge.name!r} gave no scores ({reason}). "
                "Set on_judge_failure='environment' to go on with the environment's reward."
            )
        if self._failures_in_a_row >= self.max_failures:
            raise JudgeError(
                f"The judge {self.judge.name!r} failed {self._failures_in_a_row} times in a row, last with {reason}. "
                "Repair the judge, or raise max_failures."
            )

    def _breakdown(self, episode: Episode, result: JudgeResult) -> RewardBreakdown:
        env_rewards = [float(turn.reward) for turn in episode.transitions]
        calibrated = self.calibrate(episode, result)
        return RewardBreakdown(
            env_rewards=tuple(env_rewards),
            scores=result.scores,
            calibrated=None if calibrated is None else tuple(calibrated),
            step_rewards=mix(env_rewards, calibrated, self.w_env, self.w_hindsight),
            status=result.status,
            judge=self.judgement(result),
        )


def ask(judge: Judge, episodes: Sequence[Episode]) -> list[JudgeResult]:
    """Return one valid result per episode, whatever the judge does; nobody is asked about no episodes.

    A ``JudgeError``, or too many or too few results, make every episode an "error"; scores that break a judge's promise make
    theirs "unparsable".
    """
    if not episodes:
        return []
    try:
        results = list(judge.judge(episodes))
    except JudgeError as error:
        return [JudgeResult(status=JudgeStatus.ERROR, message=str(error)) for _ in episodes]
    if len(results) != len(episodes):
        message = f"The judge returned {len(results)} results for {len(episodes)} episodes."
        return [JudgeResult(status=JudgeStatus.ERROR, message=message) for _ in episodes]
    return [validate(result, len(episode)) for result, episode in zip(results, episodes, strict=True)]


def validate(result: JudgeResult, num_turns: int) -> JudgeResult:
    """Return ``result`` if it keeps a judge's promise, otherwise an "unparsable" one; a bad score is never repaired.

    Args:
        result: What the judge returned.
        num_turns: Turns of the episode, one score each.

    Example:
        >>> validate(JudgeResult(scores=(0.5, 1.2)), num_turns=2).message
        'Score 1.2 of turn 1 is not in [0, 1].'
    """
    message = _complaint(result, num_turns)
    if not message:
        return result
    return replace(result, status=JudgeStatus.UNPARSABLE, scores=None, belief=None, reasons=(), disagreement=(), message=message)


def _complaint(result: JudgeResult, num_turns: int) -> str:
    if result.status is not JudgeStatus.OK:
        return "" if result.scores is None else f"Scores came with the status {result.status.value!r}."
    if result.scores is None:
        return "The status is 'ok' but there are no scores."
    if len(result.scores) != num_turns:
        return f"There are {len(result.scores)} scores for {num_turns} turns."
    if result.reasons and len(result.reasons) != num_turns:
        return f"There are {len(result.reasons)} reasons for {num_turns} turns."
    for turn, score in enumerate(result.scores):
        if not 0 <= score <= 1:  # nor is NaN
            return f"Score {score!r} of turn {turn} is not in [0, 1]."
    if result.belief is not None and not 0 <= result.belief <= 1:
        return f"The belief {result.belief!r} is not in [0, 1]."
    return ""


def _add_costs(result: JudgeResult, earlier: JudgeResult) -> JudgeResult:
    """Return ``result`` with the costs of the earlier attempt added."""
    return replace(result, **{name: getattr(result, name) + getattr(earlier, name) for name in COSTS})


def _check(w_env: float, w_hindsight: float, on_judge_failure: str, retries: int, max_failures: int) -> None:
    if not (math.isfinite(w_env) and math.isfinite(w_hindsight)):
        raise ConfigError(f"The weights must be finite numbers; got w_env={w_env!r}, w_hindsight={w_hindsight!r}.")
    if on_judge_failure not in ("environment", "raise"):
        raise ConfigError(f"on_judge_failure={on_judge_failure!r} is unknown. Give 'environment' or 'raise'.")
    if retries < 0 or max_failures < 1:
        raise ConfigError(f"Got retries={retries!r} and max_failures={max_failures!r}. Give retries >= 0 and max_failures >= 1.")
