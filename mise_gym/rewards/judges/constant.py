"""ConstantJudge: the same score for every turn; a test double and an ablation."""

from collections.abc import Sequence

from mise_gym.errors import ConfigError
from mise_gym.rewards.base import JudgeResult
from mise_gym.types import Episode


class ConstantJudge:
    """Scores every turn the same, whatever happened.

    Args:
        score: The score, in [0, 1].

    Raises:
        ConfigError: The score is out of range.
    """

    name = "constant"

    def __init__(self, score: float = 0.5) -> None:
        if not 0 <= score <= 1:
            raise ConfigError(f"ConstantJudge got score={score!r}. Give a number in [0, 1].")
        self.score = float(score)

    def judge(self, episodes: Sequence[Episode]) -> list[JudgeResult]:
        """Return the constant for every turn of every episode."""
        return [JudgeResult(scores=(self.score,) * len(episode)) for episode in episodes]
