"""Vector environments for text, so that ``gym.make_vec("mise/...", num_envs=2)`` is right by default.

Gymnasium's own asynchronous mode keeps observations in shared memory, which cannot hold text. What may be written:

- ``gym.make_vec(id, n, vectorization="async", autoreset_mode="SameStep")`` comes here. It refuses ``vector_kwargs`` and
  ``wrappers`` for ids that have a vector of their own.
- ``gym.make_vec(id, n, vectorization_mode="async", wrappers=[...], vector_kwargs={"shared_memory": False})`` goes round this
  file; everything for the vector, ``autoreset_mode`` included, is in ``vector_kwargs``. Without ``shared_memory`` it is refused.

A slot is the place of one environment in the vector. See ``docs/environments/vectors.md`` for seeds, groups and examples.
"""

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import gymnasium as gym
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from mise_gym.envs.base import TextEnv, check_arguments
from mise_gym.envs.catalog import ENVS, TASK_ENVS
from mise_gym.envs.process_vector import ProcessVectorEnv
from mise_gym.errors import ConfigError
from mise_gym.registry import Registry, unknown_name

EnvWrapper = Callable[[gym.Env[Any, Any]], gym.Env[Any, Any]]
Vectorization = Literal["sync", "async"]


def make_vector_env(  # noqa: PLR0913  # every argument is a keyword of gym.make_vec
    env_id: str,
    num_envs: int = 1,
    *,
    vectorization: Vectorization = "sync",
    autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
    wrappers: Sequence[EnvWrapper] = (),
    slots: Sequence[Mapping[str, Any]] | None = None,
    processes: int | None = None,
    context: str | None = None,
    max_episode_steps: int | None = None,
    **kwargs: Any,
) -> VectorEnv[Any, Any, Any]:
    """Make several environments of one id that step together.

    Args:
        env_id: One of the ids of this package.
        num_envs: How many.
        vectorization: "sync" (one after the other, in this process) or "async" (in several processes).
        autoreset_mode: What happens after an episode's end: "NextStep", "SameStep" or "Disabled".
        wrappers: Applied to each environment, the first one innermost. ``gym.make_vec`` does not hand this argument on; see the
            top of this file.
        slots: Arguments of the environment that differ between the slots, one mapping each; they win over ``kwargs``. ``None``
            makes all environments alike.
        processes: How many, for "async"; the environments are spread evenly over them. ``None`` means one per CPU core.
        context: How processes are started: "fork", "spawn", "forkserver"; ``None`` is Python's default. For "async" only.
        max_episode_steps: Step limit of each episode; here the same as ``max_turns``.
        **kwargs: Arguments of the environment, such as ``infos``.

    Returns:
        A vector environment whose observations are tuples of strings. Its ``reset(options=...)`` goes to every environment;
        ``options={"slots": [...]}`` has the options of each slot, ``None`` for nothing in particular.

    Raises:
        UnknownNameError: No such vectorization or autoreset mode, or an argument that the environment does not have.
        ConfigError: ``slots`` has not one entry per environment, or there are less than 1 processes.
    """
    modes = {mode.value: mode for mode in AutoresetMode}
    if not isinstance(autoreset_mode, AutoresetMode) and autoreset_mode not in modes:
        raise unknown_name("autoreset mode", autoreset_mode, modes)
    mode = AutoresetMode(autoreset_mode)
    if max_episode_steps is not None:
        kwargs["max_turns"] = max_episode_steps
    own = _one_per_slot("slots", slots, num_envs)
    check_arguments(_env_class(env_id), [name for arguments in own for name in arguments])
    makers = [
        functools.partial(_make_one, env_id, tuple(wrappers), {**kwargs, **arguments}, slot, num_envs)
        for slot, arguments in enumerate(own)
    ]
    if vectorization == "sync":
        return SyncVectorEnv(makers, autoreset_mode=mode)
    if vectorization == "async":
        return ProcessVectorEnv(makers, processes=_count(processes), context=context, autoreset_mode=mode)
    raise unknown_name("vectorization", vectorization, ["sync", "async"])


def _count(processes: int | None) -> int:
    if processes is not None and processes < 1:
        raise ConfigError(f"processes is {processes!r}; it must be at least 1, or None for one per CPU core.")
    return processes or os.cpu_count() or 1


class _Slot(gym.Wrapper[Any, Any, Any, Any]):
    """An environment that takes its own part of ``options={"slots": [...]}``."""

    def __init__(self, env: gym.Env[Any, Any], number: int, num_envs: int) -> None:
        super().__init__(env)
        self._number, self._num_envs = number, num_envs

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset with the options for all and those for this slot, which win."""
        shared = dict(options or {})
        own = _one_per_slot("options['slots']", shared.pop("slots", None), self._num_envs)[self._number]
        return self.env.reset(seed=seed, options={**shared, **own} or None)


def _make_one(env_id: str, wrappers: Sequence[EnvWrapper], kwargs: dict[str, Any], slot: int, num_envs: int) -> gym.Env[Any, Any]:
    env: gym.Env[Any, Any] = gym.make(f"mise_gym:{env_id}", **kwargs)
    for wrapper in wrappers:
        env = wrapper(env)
    return _Slot(env, slot, num_envs)


def _one_per_slot(what: str, given: Any, num_envs: int) -> list[Mapping[str, Any]]:
    """Return one mapping per slot, or raise."""
    if given is None:
        return [{}] * num_envs
    parts = [{} if part is None else part for part in given] if isinstance(given, Sequence) else []
    if len(parts) != num_envs or not all(isinstance(part, Mapping) for part in parts):
        raise ConfigError(f"{what} is {given!r}; with num_envs={num_envs} it must be a list of {num_envs} dictionaries.")
    return parts


def _env_class(env_id: str) -> type[TextEnv]:
    env_class: type[TextEnv] = Registry("environment", {}).load(str(gym.spec(env_id).entry_point))
    return env_class


def __getattr__(name: str) -> Callable[..., VectorEnv[Any, Any, Any]]:
    """Return the vector entry point of an id: the attribute ``FTWP-v0`` makes vectors of ``mise/FTWP-v0``."""
    for row in (*ENVS, *TASK_ENVS):
        if row.id == f"mise/{name}":
            return functools.partial(make_vector_env, row.id)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
