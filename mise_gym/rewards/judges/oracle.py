"""OracleJudge: the simulator's own progress as a score; an upper bound for other judges."""

from collections.abc import Sequence
from itertools import pairwise

from mise_gym.rewards.base import JudgeResult
from mise_gym.types import Episode


class OracleJudge:
    """Reads the true progress, which a real judge cannot see.

    A turn scores 1 when the simulator's progress rose on it, 0 when progress fell or when the turn lost the game (the episode
    terminated there without success), and 0.5 otherwise. An environment that reports progress only at the end thus gets 0.5
    everywhere but there.
    """

    name = "oracle"

    def judge(self, episodes: Sequence[Episode]) -> list[JudgeResult]:
        """Return the scores of every episode."""
        return [JudgeResult(scores=_scores(episode)) for episode in episodes]


def _scores(episode: Episode) -> tuple[float, ...]:
    progress = [0.0, *(turn.progress for turn in episode.transitions)]
    scores = [0.5 + 0.5 * ((after > before) - (after < before)) for before, after in pairwise(progress)]
    if scores and episode.terminated and not episode.success:
        scores[-1] = 0.0
    return tuple(scores)
