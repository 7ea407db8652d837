"""compare: two relabellings of the same episodes, turn by turn and as reward functions."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

import numpy as np

from mise_gym.errors import TrajectoryFormatError
from mise_gym.extras import require
from mise_gym.rewards import metrics
from mise_gym.rewards.base import FloatArray, RewardBreakdown
from mise_gym.rewards.distances import END, epic_distance, starc_distance
from mise_gym.rewards.labels import labels_of
from mise_gym.trajectories import read_episodes
from mise_gym.types import Episode

LARGEST: Final = 10
"""How many of the turns that differ most are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnDifference:
    """One turn that two judges see differently."""

    episode: int
    """Number of the episode in the file, from 1, as in ``mise-gym view``."""
    turn: int
    """Number of the turn, from 1."""
    action: str
    scores: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeFigures:
    """One judge against what came of the episodes; the belief of an episode is its mean score."""

    name: str
    failed: int
    """Episodes that it gave no scores, of all."""
    mean_score: float
    overconfidence: float
    auroc: float | None
    brier: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What differs between two relabellings; everything but ``failed`` is about the episodes that both judges scored."""

    episodes: int
    turns: int
    judges: tuple[JudgeFigures, JudgeFigures]
    score_difference: float
    """Mean over turns of second minus first score."""
    absolute_difference: float
    """Mean over turns of the absolute difference."""
    rank_correlation: float | None
    """Spearman's, over all turns; ``None`` when one judge says the same of all."""
    rank_correlation_within: float | None
    """Mean over episodes of Spearman's over the turns of each, without those where a judge says the same of all turns."""
    score_flips: float
    """Share of turns that one judge scores above its own mean and the other below."""
    reward_flips: float
    """Share of turns that are rewarded by one, and punished by the other, after calibration."""
    epic: float | None
    """EPIC distance of the step rewards."""
    starc: float | None
    """STARC distance of the step rewards."""
    largest: tuple[TurnDifference, ...]
    """The turns that differ most."""


@dataclass(slots=True)
class _Turns:
    """The turns of all episodes that both scored, as columns."""

    scores: list[FloatArray] = field(default_factory=list)
    """Of each episode. Shape ``(2, T)``."""
    calibrated: list[FloatArray] = field(default_factory=list)
    rewards: list[FloatArray] = field(default_factory=list)
    actions: list[str] = field(default_factory=list)
    places: list[tuple[int, int]] = field(default_factory=list)
    outcomes: list[float] = field(default_factory=list)
    successes: list[bool] = field(default_factory=list)
    states: dict[tuple[str, str], int] = field(default_factory=dict)
    sources: list[int] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)

    def add(self, number: int, episode: Episode, labels: tuple[RewardBreakdown, RewardBreakdown]) -> None:
        zero = (0.0,) * len(episode)
        self.scores.append(np.array([each.scores for each in labels]))
        self.calibrated.append(np.array([each.calibrated or zero for each in labels]))
        self.rewards.append(np.array([each.step_rewards for each in labels]))
        self.actions += [turn.action for turn in episode.transitions]
        self.places += [(number, turn) for turn in range(1, len(episode) + 1)]
        self.outcomes.append(episode.progress)
        self.successes.append(episode.success)
        self.sources += [self._state(episode.task, turn.observation) for turn in episode.transitions]
        self.targets += [self._state(episode.task, turn.next_observation) for turn in episode.transitions]
        if episode.terminated or episode.truncated:
            self.targets[-1] = END

    def _state(self, task: str, observation: str) -> int:
        return self.states.setdefault((task, observation), len(self.states))


def compare(first: Path, second: Path, gamma: float = 0.99) -> Comparison:
    """Compare two files of labelled episodes.

    For the distances between reward functions, a state is what the agent is told: the task and the observation. The end of an
    episode is a state of its own.

    Args:
        first: A ``.jsonl`` or ``.jsonl.gz`` file that ``mise-gym relabel`` wrote.
        second: Another one, of the same episodes in the same order.
        gamma: Discount per turn, which decides what counts as potential shaping.

    Raises:
        TrajectoryFormatError: The episodes are not the same, not labelled, or no episode was scored by both judges.
        MissingExtraError: SciPy is not installed.
    """
    turns, failed, names = _Turns(), [0, 0], ["", ""]
    for number, (episode, labels) in enumerate(_pairs(first, second), 1):
        names = [str(each.judge.get("name", "")) for each in labels]
        missing = [each.scores is None for each in labels]
        failed = [count + gone for count, gone in zip(failed, missing, strict=True)]
        if not any(missing) and len(episode):
            turns.add(number, episode, labels)
    if not turns.scores:
        raise TrajectoryFormatError(f"No episode of {str(first)!r} and {str(second)!r} has scores in both files.")
    return _summarise(turns, names, failed, gamma)


def _pairs(first: Path, second: Path) -> Iterator[tuple[Episode, tuple[RewardBreakdown, RewardBreakdown]]]:
    for number, (one, other) in enumerate(zip_longest(read_episodes(first), read_episodes(second)), 1):
        if one is None or other is None or one.transitions != other.transitions:
            raise TrajectoryFormatError(
                f"Episode {number} of {str(first)!r} and {str(second)!r} is not the same. Compare relabellings of one file."
            )
        labels = labels_of(one), labels_of(other)
        if labels[0] is None or labels[1] is None:
            missing = first if labels[0] is None else second
            raise TrajectoryFormatError(f"Episode {number} of {str(missing)!r} has no labels. Label it with mise-gym relabel.")
        yield one, (labels[0], labels[1])


def _summarise(turns: _Turns, names: list[str], failed: list[int], gamma: float) -> Comparison:
    scores, calibrated = np.concatenate(turns.scores, axis=1), np.concatenate(turns.calibrated, axis=1)  # (2, N)
    rewards = np.concatenate(turns.rewards, axis=1)
    gap = scores[1] - scores[0]
    above = scores - scores.mean(axis=1, keepdims=True)
    within = [found for episode in turns.scores if (found := rank_correlation(*episode)) is not None]
    sources, targets = np.array(turns.sources), np.array(turns.targets)
    largest = [int(index) for index in np.argsort(-np.abs(gap), kind="stable")[:LARGEST] if gap[index] != 0]
    return Comparison(
        episodes=len(turns.scores),
        turns=len(gap),
        judges=(_figures(turns, 0, names, failed), _figures(turns, 1, names, failed)),
        score_difference=float(gap.mean()),
        absolute_difference=float(np.abs(gap).mean()),
        rank_correlation=rank_correlation(*scores),
        rank_correlation_within=float(np.mean(within)) if within else None,
        score_flips=float(np.mean(above[0] * above[1] < 0)),
        reward_flips=float(np.mean(calibrated[0] * calibrated[1] < 0)),
        epic=epic_distance(rewards[0], rewards[1], sources, targets, gamma=gamma),
        starc=starc_distance(rewards[0], rewards[1], sources, targets, gamma=gamma),
        largest=tuple(_difference(turns, scores, index) for index in largest),
    )


def _figures(turns: _Turns, judge: int, names: list[str], failed: list[int]) -> JudgeFigures:
    beliefs = np.array([scores[judge].mean() for scores in turns.scores])
    outcomes = np.array(turns.outcomes)
    return JudgeFigures(
        name=names[judge],
        failed=failed[judge],
        mean_score=float(beliefs.mean()),
        overconfidence=metrics.overconfidence(beliefs, outcomes),
        auroc=metrics.auroc(beliefs, turns.successes),
        brier=metrics.brier(beliefs, outcomes),
    )


def _difference(turns: _Turns, scores: FloatArray, index: int) -> TurnDifference:
    episode, turn = turns.places[index]
    pair = float(scores[0, index]), float(scores[1, index])
    return TurnDifference(episode=episode, turn=turn, action=turns.actions[index], scores=pair)


def rank_correlation(first: FloatArray, second: FloatArray) -> float | None:
    """Return Spearman's rank correlation, ties sharing their mean rank; ``None`` when one sequence is constant.

    Args:
        first: Shape ``(N,)``.
        second: Shape ``(N,)``.

    Raises:
        MissingExtraError: SciPy is not installed.

    Example:
        >>> rank_correlation(np.array([0.1, 0.5, 0.9]), np.array([1.0, 2.0, 400.0]))
        1.0
    """
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    stats: Any = require("scipy.stats")
    return float(stats.spearmanr(first, second).statistic)
