"""Demonstrations for the warm start: expert episodes to imitate, and mistaken ones with hindsight labels to judge."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from mise_gym.train.rollout import LiveRecorder, TextEnvironment
from mise_gym.types import Episode

GOOD_TURNS: Final = "good_turns"
"""Key in ``Episode.extra``: one 0 or 1 per turn, whether it brought progress or shortened the expert's remaining plan."""


class LabelledRecorder(LiveRecorder, ABC):
    """Also knows what the expert would still do, and writes down which turns shortened that or brought progress.

    A subclass per environment says what the plan is: ``TaskSet.recorder_class``.
    """

    def __init__(self, env: TextEnvironment, options: Mapping[str, Any], seed: int | None = None) -> None:
        super().__init__(env, options, seed)
        self.good_turns: list[int] = []

    @property
    @abstractmethod
    def plan(self) -> list[str]:
        """What the expert would still do; empty when the episode is over or can no longer be won."""

    @abstractmethod
    def follow(self, action: str, plan: list[str]) -> None:
        """Keep the plan up to date.

        Args:
            action: What was just done.
            plan: What the expert would have done.
        """

    def step(self, action: str) -> None:
        """Take one turn and label it: good if it wins, if the expert has less left to do, or the simulator sees progress.

        There is more than one way, and the expert knows one. A turn that ends the episode short of the goal is not good, however
        much it is paid.
        """
        plan, progress = self.plan, self.info["progress"]
        super().step(action)
        self.follow(action, plan)
        has_gained = not self.is_done and self.info["progress"] > progress
        self.good_turns.append(int(bool(self.info["success"]) or has_gained or 0 < len(self.plan) < len(plan)))

    def episode(self) -> Episode:
        """Return the episode up to now, with the labels in ``extra``."""
        return replace(super().episode(), extra={GOOD_TURNS: list(self.good_turns)})


def demonstrate(  # noqa: PLR0913  # the last three are keyword-only
    recorder_class: type[LabelledRecorder],
    env: TextEnvironment,
    tasks: Sequence[Mapping[str, Any]],
    rng: np.random.Generator,
    *,
    max_mistake_rate: float,
    repeated_mistakes: float = 0.0,
    on_episode: Callable[[], None] | None = None,
) -> list[Episode]:
    """Play tasks by the simulator's own solution, with some random admissible actions in between.

    Args:
        recorder_class: Knows the expert's plan.
        env: Lists admissible commands and has ``expert_actions``.
        tasks: ``reset`` options, one per episode.
        rng: Draws the mistakes.
        max_mistake_rate: Each episode draws its own rate of random actions from [0, this]; 0 is the expert.
        repeated_mistakes: Share of the mistakes that do again what was done before in the episode, where that is admissible.
        on_episode: Called after each episode.
    """
    episodes = []
    for options in tasks:
        recorder = recorder_class(env, options)
        rate = rng.uniform(0, max_mistake_rate)
        while not recorder.is_done:
            lost = not recorder.plan
            mistake = lost or rng.random() < rate
            recorder.step(_mistake(recorder, rng, repeated_mistakes) if mistake else recorder.plan[0])
        episodes.append(recorder.episode())
        if on_episode is not None:
            on_episode()
    return episodes


def _mistake(recorder: LiveRecorder, rng: np.random.Generator, repeated: float) -> str:
    """Draw an admissible command, with some probability one that was done before."""
    done = sorted({turn.action for turn in recorder.episode().transitions} & set(recorder.commands)) if repeated else []
    return str(rng.choice(done if done and rng.random() < repeated else sorted(recorder.commands)))
