"""RecordTrajectories writes every episode to a file."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, SupportsFloat
from uuid import uuid4

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs

from mise_gym.recorder import EpisodeRecorder
from mise_gym.spaces import require_text
from mise_gym.trajectories import SUFFIXES, EpisodeWriter

MADE_AS: Final = "environment"
"""Key in ``Episode.extra``: how the environment was made."""

OF_THE_MACHINE: Final = ("chromedriver", "chromium", "render_mode")
"""Arguments that are neither kept nor taken from a file: a recording must not choose which program is run."""


class RecordTrajectories(gym.Wrapper[str, str, str, str], RecordConstructorArgs):
    """Appends every episode to a file of recorded episodes (see ``mise_gym.trajectories``) as soon as it ends.

    An episode that is cut short by ``reset`` or ``close`` is recorded too, as neither terminated nor truncated; one without a
    turn is not. How the environment was made, the seed, the options and, for unseeded episodes, the state of the random generator
    are kept, so that ``replay`` and ``mise-gym replay FILE`` find the same game again.

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
        self._made_as = made_as(env)
        self._writer: EpisodeWriter | None = None
        self._recorder: EpisodeRecorder | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Record the running episode, if there is one, and start another."""
        self._finish()
        extra: dict[str, Any] = {} if self._made_as is None else {MADE_AS: self._made_as}
        if options is not None:
            extra["options"] = as_json(options)
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


def made_as(env: gym.Env[Any, Any]) -> dict[str, Any] | None:
    """Return how an environment was made, as JSON can hold it; ``None`` if it was not made by ``gym.make`` or from live objects.

    Args:
        env: An environment, with its wrappers.

    Returns:
        ``id``, ``kwargs``, ``max_episode_steps`` and ``wrappers``, a list of names and keyword arguments, the innermost first.
    """
    spec = env.spec
    if spec is None:
        return None
    wrappers = [[wrapper.name, wrapper.kwargs] for wrapper in spec.additional_wrappers]
    kwargs = without_machine(spec.kwargs)
    made = {"id": spec.id, "kwargs": kwargs, "max_episode_steps": spec.max_episode_steps, "wrappers": wrappers}
    try:
        return as_json(made)
    except TypeError:
        return None


def without_machine(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return keyword arguments of an environment without those ``OF_THE_MACHINE``."""
    return {name: value for name, value in kwargs.items() if name not in OF_THE_MACHINE}


def as_json(mapping: Mapping[str, Any]) -> dict[str, Any]:
    """Return a mapping as it comes back from JSON: tuples as lists, paths as strings, NumPy's numbers as plain ones.

    Raises:
        TypeError: JSON cannot hold it.
    """
    read: dict[str, Any] = json.loads(json.dumps(mapping, default=_plain))
    return read


def _plain(value: Any) -> Any:
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"JSON cannot hold {value!r}.")
