"""HeuristicJudge: three rules of thumb, no model."""

import re
from collections.abc import Sequence
from typing import Final

from mise_gym.rewards.base import JudgeResult
from mise_gym.types import Episode, Transition

_WORD: Final = re.compile(r"\w+")
_SHORTEST_GOAL_WORD: Final = 4  # leaves out "the", "and", "to", ...
_COMPLAINT: Final = re.compile(
    r"\b(you can'?t|you cannot|you don'?t|i don'?t (know|understand)|not a verb|nothing happens|no known action"
    r"|(unknown|invalid) (command|action)|that'?s not|there is no such|error)\b",
    re.IGNORECASE,
)


class HeuristicJudge:
    """A stand-in for a judge where no model is at hand: it does not understand the text.

    The score of a turn is the sum of

    * 0.4 when the text that came back is new in this episode,
    * 0.3 when the action was understood: the simulator called it valid and the text holds no stock complaint ("You can't ..."),
    * 0.3 times the share of the words of the goal met so far for the first time on this turn, in the action or the answer,
      relative to the best turn of the episode. A turn that was not understood meets none: reciting the goal is no progress.

    It rewards exploring in correct commands near the words of the goal, which is a weak hint of success at best. Use it as a
    baseline and to try things offline.
    """

    name = "heuristic"

    def judge(self, episodes: Sequence[Episode]) -> list[JudgeResult]:
        """Return the scores of every episode."""
        return [_result(episode) for episode in episodes]


def _result(episode: Episode) -> JudgeResult:
    gains = _new_goal_words(episode)
    best = max(gains, default=0) or 1
    seen = {episode.transitions[0].observation} if episode.transitions else set()
    scores, reasons = [], []
    for turn, gain in zip(episode.transitions, gains, strict=True):
        is_new = turn.next_observation not in seen
        seen.add(turn.next_observation)
        is_understood = _is_understood(turn)
        scores.append((4 * is_new + 3 * is_understood + 3 * gain / best) / 10)
        reasons.append(_reason(is_new, is_understood, gain))
    return JudgeResult(scores=tuple(scores), reasons=tuple(reasons))


def _reason(is_new: bool, is_understood: bool, gain: int) -> str:
    goal = f", {gain} new of the goal's words" if gain else ""
    return f"{'new' if is_new else 'known'} text, {'understood' if is_understood else 'not understood'}{goal}"


def _is_understood(turn: Transition) -> bool:
    return turn.valid_action and not _COMPLAINT.search(turn.next_observation)


def _new_goal_words(episode: Episode) -> list[int]:
    """Return, per turn, how many words of the goal its action and answer mention for the first time. Length ``T``."""
    missing = {word for word in _words(episode.task) if len(word) >= _SHORTEST_GOAL_WORD}
    gains = []
    for turn in episode.transitions:
        found = missing & _words(f"{turn.action} {turn.next_observation}") if _is_understood(turn) else set()
        missing -= found
        gains.append(len(found))
    return gains


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text.lower()))
