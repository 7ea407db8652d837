"""EpisodeRecorder: collects the turns of a running episode from what a Gymnasium environment returns."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mise_gym.errors import ConfigError
from mise_gym.types import Episode, Transition

Step = tuple[Any, Any, Any, Any, Mapping[str, Any]]
"""Gymnasium's five-tuple: observation, reward, terminated, truncated, info."""


class EpisodeRecorder:
    """The turns of one episode so far. Everything that records, rewards or plays episodes uses it.

    It reads ``task``, ``task_id``, ``split``, ``progress``, ``success`` and ``valid_action`` from ``info`` where they are
    present. An environment without ``progress`` is taken to pay its progress as reward: the outcome R is then the sum of the
    rewards, limited to [0, 1]. What a judge says at the end (``info["mise"]``) goes into ``Episode.extra``.

    Args:
        observation: Text that ``reset`` returned.
        info: The ``info`` of ``reset``.
        seed: The seed given to ``reset``, if any.
        extra: What else to keep in ``Episode.extra``.

    Raises:
        ConfigError: The observation is not text.

    Example:
        >>> recorder = EpisodeRecorder("A door.", {"task": "Leave."}, seed=3)
        >>> recorder.record("open door", ("You are out.", 1.0, True, False, {"progress": 1.0}))
        >>> episode = recorder.episode()
        >>> len(episode), episode.progress, episode.success, episode.seed
        (1, 1.0, True, 3)
    """

    def __init__(
        self, observation: str, info: Mapping[str, Any], *, seed: int | None = None, extra: Mapping[str, Any] | None = None
    ) -> None:
        self.observation = _text("observation", observation)
        """What the agent sees now."""
        self._facts = dict(info)
        """What ``info`` told last, under each of its keys."""
        self._seed = seed
        self._extra = dict(extra or {})
        self._transitions: list[Transition] = []
        self._return = 0.0
        self._terminated = False
        self._truncated = False

    def __len__(self) -> int:
        """Return the number of turns so far."""
        return len(self._transitions)

    @property
    def is_done(self) -> bool:
        """Whether the episode has ended, either way."""
        return self._terminated or self._truncated

    @property
    def last_reward(self) -> float:
        """The environment's reward of the last turn."""
        return self._transitions[-1].reward

    def record(self, action: str, step: Step) -> None:
        """Add one turn.

        Args:
            action: Text that the agent wrote.
            step: What ``env.step`` returned for it: observation, reward, terminated, truncated, info.

        Raises:
            ConfigError: The action or the observation is not text.
        """
        observation, reward, terminated, truncated, info = step
        reward = float(reward)
        self._return += reward
        self._facts |= info
        if "mise" in info:
            self._extra["mise"] = info["mise"]
        self._transitions.append(
            Transition(
                observation=self.observation,
                action=_text("action", action),
                reward=reward,
                next_observation=_text("observation", observation),
                progress=self._progress,
                valid_action=bool(info.get("valid_action", True)),
            )
        )
        self.observation = self._transitions[-1].next_observation
        self._terminated, self._truncated = bool(terminated), bool(truncated)

    def episode(self) -> Episode:
        """Return the episode up to now; while it runs it is neither terminated nor truncated."""
        progress = self._progress
        return Episode(
            task=str(self._facts.get("task", "")),
            transitions=tuple(self._transitions),
            progress=progress,
            success=bool(self._facts.get("success", progress >= 1.0)),
            terminated=self._terminated,
            truncated=self._truncated,
            task_id=str(self._facts.get("task_id", "")),
            split=str(self._facts.get("split", "")),
            seed=self._seed,
            extra=dict(self._extra),
        )

    @property
    def _progress(self) -> float:
        """The progress that the environment told last, or else the sum of its rewards, limited to [0, 1]."""
        return float(self._facts["progress"]) if "progress" in self._facts else float(np.clip(self._return, 0.0, 1.0))


def _text(what: str, value: Any) -> str:
    """Return ``value`` as a plain string (vector environments hand over ``numpy.str_``), or raise."""
    if not isinstance(value, str):
        raise ConfigError(
            f"An episode is text, but the {what} is of type {type(value).__name__}. "
            "Put the wrapper that rewards or records inside those that turn text into numbers."
        )
    return str(value)
