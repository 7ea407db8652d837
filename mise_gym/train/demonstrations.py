"""Demonstrations for the warm start: expert episodes to imitate, and mistaken ones with hindsight labels to judge."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import Any, Final

import numpy as np

from mise_gym.train.rollout import LiveRecorder, TextEnvironment
from mise_gym.types import Episode

GOOD_TURNS: Final = "good_turns"
"""Key in ``Episode.extra``: one 0 or 1 per turn, whether it shortened the expert's remaining plan."""


class LabelledRecorder(LiveRecorder):
    """Also keeps the simulator's own plan of what is left to do, and writes down which turns shortened it.

    The plan is the expert's solution: first what it does only to learn something (reading the cookbook), then what the simulator
    plans from the state at hand, asked again every turn. The environment must be made with ``infos=("policy_commands",)``.
    """

    def __init__(self, env: TextEnvironment, options: Mapping[str, Any], seed: int | None = None) -> None:
        super().__init__(env, options, seed)
        self.good_turns: list[int] = []
        solution = env.unwrapped.expert_actions()  # type: ignore[attr-defined]  # part of every TextEnv
        self._to_learn = list(takewhile(lambda action: action not in self.info["policy_commands"], solution))

    @property
    def plan(self) -> list[str]:
        """What the expert would still do; empty when the game is over or can no longer be won."""
        plan = list(self.info["policy_commands"])
        return self._to_learn + plan if plan else []

    def step(self, action: str) -> None:
        """Take one turn and label it: good if the expert has less left to do, or has just finished."""
        before = len(self.plan)
        super().step(action)
        if action in self._to_learn:
            self._to_learn.remove(action)
        self.good_turns.append(int(bool(self.info["success"]) or 0 < len(self.plan) < before))

    def episode(self) -> Episode:
        """Return the episode up to now, with the labels in ``extra``."""
        return replace(super().episode(), extra={GOOD_TURNS: list(self.good_turns)})


def demonstrate(
    env: TextEnvironment,
    tasks: Sequence[Mapping[str, Any]],
    rng: np.random.Generator,
    *,
    max_mistake_rate: float,
    on_episode: Callable[[], None] | None = None,
) -> list[Episode]:
    """Play tasks by the simulator's own solution, with some random admissible actions in between.

    Args:
        env: Lists admissible commands and has ``expert_actions``.
        tasks: ``reset`` options, one per episode.
        rng: Draws the mistakes.
        max_mistake_rate: Each episode draws its own rate of random actions from [0, this]; 0 is the expert.
        on_episode: Called after each episode.
    """
    episodes = []
    for options in tasks:
        recorder = LabelledRecorder(env, options)
        rate = rng.uniform(0, max_mistake_rate)
        while not recorder.is_done:
            lost = not recorder.plan
            mistake = lost or rng.random() < rate
            recorder.step(str(rng.choice(sorted(recorder.commands))) if mistake else recorder.plan[0])
        episodes.append(recorder.episode())
        if on_episode is not None:
            on_episode()
    return episodes
