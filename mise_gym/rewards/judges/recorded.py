"""RecordedJudge: the scores that another judge has given before."""

from collections.abc import Sequence

from mise_gym.rewards.base import JudgeResult, JudgeStatus
from mise_gym.rewards.labels import labels_of, reasons_of
from mise_gym.types import Episode


class RecordedJudge:
    """Repeats the scores that are recorded with an episode, failures too, and asks nobody.

    ``mise-gym relabel IN OUT --judge recorded --calibrator NAME`` calibrates them anew. An episode that was recorded without
    scores is an "error".
    """

    name = "recorded"

    def judge(self, episodes: Sequence[Episode]) -> list[JudgeResult]:
        """Return the recorded scores of every episode."""
        return [_result(episode) for episode in episodes]


def _result(episode: Episode) -> JudgeResult:
    labels = labels_of(episode)
    if labels is None:
        return JudgeResult(status=JudgeStatus.ERROR, message="The episode was recorded without scores.")
    if labels.scores is None:
        return JudgeResult(status=labels.status, message=str(labels.judge.get("message", "")))
    return JudgeResult(scores=labels.scores, belief=labels.judge.get("belief"), reasons=reasons_of(labels))
