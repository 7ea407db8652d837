"""Judges that get stuck, fail or must not be asked; relabelling finds them by name, also in another process."""

import os
import time
from collections.abc import Sequence
from typing import ClassVar

from mise_gym.rewards import JudgeResult, JudgeStatus
from mise_gym.types import Episode


class StuckJudge:
    """Scores turns by the length of their text; the variable STUCK names the episode at which it stops answering."""

    name = "stuck"

    def judge(self, episodes: Sequence[Episode]) -> list[JudgeResult]:
        if any(episode.task_id == os.environ.get("STUCK") for episode in episodes):
            time.sleep(600)
        return [JudgeResult(scores=tuple(len(turn.next_observation) / 10 for turn in e.transitions)) for e in episodes]


class Connected:
    """Has to be closed."""

    name = "connected"
    closed: ClassVar[int] = 0

    def judge(self, episodes: Sequence[Episode]) -> list[JudgeResult]:
        return [JudgeResult(scores=(0.5,) * len(episode)) for episode in episodes]

    def close(self) -> None:
        type(self).closed += 1


class MoodyJudge:
    """In a bad mood every third episode times out; a dead one answers nothing."""

    name = "moody"
    mood: ClassVar[str] = "good"

    def judge(self, episodes: Sequence[Episode]) -> list[JudgeResult]:
        return [self._result(episode) for episode in episodes]

    def _result(self, episode: Episode) -> JudgeResult:
        if self.mood == "dead" or (self.mood == "bad" and int(episode.task_id) % 3 == 1):
            return JudgeResult(status=JudgeStatus.TIMEOUT)
        return JudgeResult(scores=(0.5,) * len(episode))


class NeverAsked:
    """Fails the test that asks it."""

    name = "never"

    def judge(self, episodes: Sequence[Episode]) -> list[JudgeResult]:
        raise AssertionError("the judge was asked")
