"""Labels: what a judge said of a recorded episode, and the rewards made of it, kept with the episode in ``extra["mise"]``."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from statistics import fmean
from typing import Any, Final

from mise_gym.errors import TrajectoryFormatError
from mise_gym.rewards.base import JudgeStatus, RewardBreakdown
from mise_gym.types import Episode

LABELS: Final = "mise"
SELF_EVALUATION: Final = "self_evaluation"
"""Where the trainer keeps what a policy says about held-out episodes: ``scores`` that nobody is paid for, and its ``belief``."""


def with_labels(episode: Episode, breakdown: RewardBreakdown) -> Episode:
    """Return the episode with these labels in place of any others."""
    return replace(episode, extra={**episode.extra, LABELS: asdict(breakdown)})


def labels_of(episode: Episode) -> RewardBreakdown | None:
    """Return the labels of a recorded episode; ``None`` where there are none.

    Understood are the labels that ``with_labels`` writes, ``info["mise"]`` as the wrappers give it, and the self-evaluation in
    the held-out episodes of a training run.

    Raises:
        TrajectoryFormatError: The labels are not what anybody here writes, or not one per turn.

    Example:
        >>> from mise_gym.types import Transition
        >>> turn = Transition(observation="A door.", action="open", reward=1.0, next_observation="Out.")
        >>> facts = {"progress": 1.0, "success": True, "terminated": True, "truncated": False}
        >>> labels_of(Episode(task="Leave.", transitions=(turn,), extra={"self_evaluation": {"scores": [0.9]}}, **facts)).scores
        (0.9,)
    """
    if LABELS in episode.extra:
        return _decode(episode.extra[LABELS], episode)
    if SELF_EVALUATION in episode.extra:
        rewards = [turn.reward for turn in episode.transitions]
        said = dict(episode.extra[SELF_EVALUATION])
        judge = {"name": "self", "belief": said.get("belief")}
        unpaid = {"scores": said.get("scores"), "env_rewards": rewards, "step_rewards": rewards, "judge": judge, "status": "ok"}
        return _decode(unpaid, episode)
    return None


def belief_of(labels: RewardBreakdown) -> float | None:
    """Return how far the judge believed the task was done: what it stated, or else its mean score; ``None`` without scores.

    Example:
        >>> judged = {"env_rewards": (0.0, 1.0), "calibrated": None, "step_rewards": (0.0, 1.0), "status": JudgeStatus.OK}
        >>> belief_of(RewardBreakdown(scores=(0.5, 1.0), judge={}, **judged))
        0.75
        >>> belief_of(RewardBreakdown(scores=(0.5, 1.0), judge={"belief": 0.25}, **judged))
        0.25
    """
    stated = labels.judge.get("belief")
    if stated is not None:
        return float(stated)
    return fmean(labels.scores) if labels.scores else None


def reasons_of(labels: RewardBreakdown) -> tuple[str, ...]:
    """Return why each turn got its score; empty where the judge did not say."""
    return tuple(map(str, labels.judge.get("reasons", ())))


def _decode(record: Any, episode: Episode) -> RewardBreakdown:
    try:
        labels = RewardBreakdown(
            env_rewards=_numbers(record, "env_rewards", episode) or (),
            scores=_numbers(record, "scores", episode),
            calibrated=_numbers(record, "calibrated", episode),
            step_rewards=_numbers(record, "step_rewards", episode) or (),
            status=JudgeStatus(record["status"]),
            judge=dict(record["judge"]),
        )
        belief_of(labels)  # a number, if it is there
        if reasons_of(labels):
            _one_per_turn(reasons_of(labels), "reasons", episode)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise TrajectoryFormatError(
            f"The labels of an episode of task {episode.task_id!r} cannot be read: {type(error).__name__}: {error}. "
            "Label the episodes again with mise-gym relabel."
        ) from error
    return labels


def _numbers(record: Mapping[str, Any], name: str, episode: Episode) -> tuple[float, ...] | None:
    values = record.get(name)
    if values is None or (not values and len(episode)):  # the wrappers write an empty list where a judge failed
        return None
    return tuple(float(value) for value in _one_per_turn(values, name, episode))


def _one_per_turn(values: Sequence[Any], name: str, episode: Episode) -> Sequence[Any]:
    if len(values) != len(episode):
        raise ValueError(f"{len(values)} {name} for {len(episode)} turns")
    return values
