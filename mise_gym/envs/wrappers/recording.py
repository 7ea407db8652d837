"""RecordTrajectories writes every episode to a file; ``replay`` plays a recorded one again."""

import os
from pathlib import Path
from typing import Any, Protocol, SupportsFloat, cast
from uuid import uuid4

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs

from mise_gym.errors import TrajectoryFormatError
from mise_gym.recorder import EpisodeRecorder
from mise_gym.spaces import require_text
from mise_gym.trajectories import SUFFIXES, EpisodeWriter
from mise_gym.types import Episode


class RecordTrajectories(gym.Wrapper[str, str, str, str], RecordConstructorArgs):
    """Appends every episode to a file of recorded episodes (see ``mise_gym.trajectories``) as soon as it ends.

    An episode that is cut short by ``reset`` or ``close`` is recorded too, as neither terminated nor truncated; one without a
    turn is not. The seed, the options and, for unseeded episodes, the state of the random generator are kept, so that
    ``replay`` finds the same game again.

    Args:
        env: A text environment. Wrappers that turn text into numbers go outside this one.
        path: A ``.jsonl`` or ``.jsonl.gz`` file, which is continued when it exists; any other name is a folder in which each
            environment starts a file of its own (what ``gym.make_vec`` needs).

    Raises:
        ConfigError: Observations or actions are not text.
        OSError: The file cannot be written; episodes recorded before stay whole.
    """

    def __init__(self, env: gym.Env[str, str], path: str | os.PathLike[str]) -> None:
        RecordConstructorArgs.__init__(self, path=os.fspath(path))
        super().__init__(env)
        require_text("RecordTrajectories", env.observation_space, env.action_space)
        self.path = Path(path)
        if not self.path.name.endswith(SUFFIXES):
            self.path = self.path / f"{os.getpid()}-{uuid4().hex[:8]}.jsonl"
        self._writer: EpisodeWriter | None = None
        self._recorder: EpisodeRecorder | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Record the running episode, if there is one, and start another."""
        self._finish()
        extra: dict[str, Any] = {} if options is None else {"options": dict(options)}
        if seed is None:
            extra["generator"] = self.env.unwrapped.np_random.bit_generator.state
        observation, info = self.env.reset(seed=seed, options=options)
        self._recorder = EpisodeRecorder(observation, info, seed=seed, extra=extra)
        return observation, info

    def step(self, action: str) -> tuple[str, SupportsFloat, bool, bool, dict[str, Any]]:
        """Act, and record the episode when this was its last turn."""
        step = self.env.step(action)
        if self._recorder is not None:
            self._recorder.record(action, step)
            if self._recorder.is_done:
                self._finish()
        return step

    def close(self) -> None:
        """Record the running episode, if there is one, and close the file and the environment."""
        try:
            self._finish()
        finally:
            if self._writer is not None:
                self._writer.close()
                self._writer = None
            super().close()

    def _finish(self) -> None:
        recorder, self._recorder = self._recorder, None
        if recorder is None or not len(recorder):
            return
        if self._writer is None:
            self._writer = EpisodeWriter(self.path)
        self._writer.write(recorder.episode())


class _HasGenerator(Protocol):
    np_random: np.random.Generator


def replay(env: gym.Env[str, str], episode: Episode) -> Episode:
    """Play the recorded actions again and return what came back.

    ``replay(env, episode) == episode`` when the environment, and its wrappers, are the ones that the episode was recorded with.

    Args:
        env: A text environment; it is reset, and left at the end of the episode.
        episode: An episode that ``RecordTrajectories`` recorded.

    Returns:
        The episode as it went this time; shorter when the environment ended sooner.

    Raises:
        TrajectoryFormatError: ``reset`` gave another task than the recorded one.
    """
    state = episode.extra.get("generator")
    if episode.seed is None and state is not None:
        generator = np.random.Generator(np.random.PCG64())
        generator.bit_generator.state = state
        cast(_HasGenerator, env.unwrapped).np_random = generator
    observation, info = env.reset(seed=episode.seed, options=episode.extra.get("options"))
    if str(info.get("task_id", "")) != episode.task_id:
        raise TrajectoryFormatError(
            f"The episode was recorded on task {episode.task_id!r}, but reset gave {info.get('task_id', '')!r}. "
            "Make the environment with the settings that it was recorded with."
        )
    recorder = EpisodeRecorder(observation, info, seed=episode.seed, extra=episode.extra)
    for turn in episode.transitions:
        recorder.record(turn.action, env.step(turn.action))
        if recorder.is_done:
            break
    return recorder.episode()
