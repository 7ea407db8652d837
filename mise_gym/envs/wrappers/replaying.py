"""Play recorded episodes again: in an environment made as the recording says, action by action, and compare."""

from dataclasses import fields
from typing import Final, Protocol, cast

import gymnasium as gym
import numpy as np

from mise_gym.envs.wrappers.action_parser import ActionParser
from mise_gym.envs.wrappers.admissible import AdmissibleCommands
from mise_gym.envs.wrappers.history import History
from mise_gym.envs.wrappers.recording import MADE_AS, without_machine
from mise_gym.errors import ConfigError, TrajectoryFormatError
from mise_gym.recorder import EpisodeRecorder
from mise_gym.registry import unknown_name
from mise_gym.types import Episode, Transition

_WRAPPERS: Final = {wrapper.__name__: wrapper for wrapper in (ActionParser, AdmissibleCommands, History)}
"""What ``remake`` puts round an environment. A file must not be able to have just any code of its choice called."""

_COMPARED: Final = ("task", "task_id", "split", "progress", "success", "terminated", "truncated")


class _HasGenerator(Protocol):
    np_random: np.random.Generator


def remake(episode: Episode) -> gym.Env[str, str]:
    """Make the environment that an episode was recorded in.

    Args:
        episode: An episode that ``RecordTrajectories`` or ``mise-gym play --record`` wrote.

    Raises:
        TrajectoryFormatError: The episode does not say how its environment was made.
        UnknownNameError: Its id is not registered.
        ConfigError: A wrapper is none of those that are made from a file.
    """
    made = episode.extra.get(MADE_AS)
    if not isinstance(made, dict) or made.keys() != {"id", "kwargs", "max_episode_steps", "wrappers"}:
        raise TrajectoryFormatError(
            "The episode does not say how its environment was made. Make it yourself and call replay(env, episode), "
            "or name it: mise-gym replay FILE --id ID --setting NAME=VALUE."
        )
    if made["id"] not in gym.registry:
        raise unknown_name("environment", made["id"], [name for name in gym.registry if name.startswith("mise/")])
    kwargs = without_machine(made["kwargs"])
    env: gym.Env[str, str] = gym.make(made["id"], max_episode_steps=made["max_episode_steps"], **kwargs)
    for name, kwargs in made["wrappers"]:
        if name not in _WRAPPERS:
            raise ConfigError(
                f"The episode was recorded inside {name!r}; only {', '.join(_WRAPPERS)} are made from a file. "
                "Make the environment yourself and call replay(env, episode)."
            )
        env = _WRAPPERS[name](env, **kwargs)
    return env


def replay(env: gym.Env[str, str], episode: Episode) -> Episode:
    """Play the recorded actions again and return what came back.

    ``replay(env, episode) == episode`` when the environment, and its wrappers, are the ones that the episode was recorded with.

    Args:
        env: A text environment; it is reset, and left at the end of the episode.
        episode: A recorded episode. Its game is found again by its seed and options, by the state of the random generator, or,
            if it has none of them, by its task id.

    Returns:
        The episode as it went this time; shorter when the environment ended sooner.

    Raises:
        TrajectoryFormatError: ``reset`` gave another task than the recorded one.
    """
    state, options = episode.extra.get("generator"), episode.extra.get("options")
    if episode.seed is None and state is not None:
        generator = np.random.Generator(np.random.PCG64())
        generator.bit_generator.state = state
        cast(_HasGenerator, env.unwrapped).np_random = generator
    elif episode.seed is None and options is None:
        options = {name: episode.task_id for name in getattr(env.unwrapped, "known_options", ())[:1]}
    observation, info = env.reset(seed=episode.seed, options=options)
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


def first_difference(recorded: Episode, replayed: Episode) -> str | None:
    """Return in words where two episodes differ first; ``None`` if they are equal in all but ``seed`` and ``extra``.

    Example:
        >>> from dataclasses import replace
        >>> lost = Episode(task="Eat.", transitions=(), progress=0.5, success=False, terminated=True, truncated=False)
        >>> first_difference(lost, replace(lost, progress=1.0))
        'progress: recorded 0.5, now 1.0'
    """
    for number, (before, after) in enumerate(zip(recorded.transitions, replayed.transitions, strict=False), start=1):
        for field in fields(Transition):
            old, new = getattr(before, field.name), getattr(after, field.name)
            if old != new:
                return f"turn {number}, {field.name}: {_contrast(old, new)}"
    if len(recorded) != len(replayed):
        return f"turns: {_contrast(len(recorded), len(replayed))}"
    for name in _COMPARED:
        old, new = getattr(recorded, name), getattr(replayed, name)
        if old != new:
            return f"{name}: {_contrast(old, new)}"
    return None


def _contrast(old: object, new: object, width: int = 60) -> str:
    """Say what two values are; of long texts, the part in which they begin to differ."""
    if isinstance(old, str) and isinstance(new, str):
        same = next((place for place, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
        start = max(0, same - width // 3)
        dots = "..." if start else ""
        old, new = (dots + text[start : start + width] + ("..." if len(text) > start + width else "") for text in (old, new))
    return f"recorded {old!r}, now {new!r}"
