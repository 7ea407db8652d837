"""Vector environments for text, so that ``gym.make_vec("mise/...", num_envs=2)`` is right by default.

Gymnasium's own asynchronous mode keeps observations in shared memory, which cannot hold text. What may be written:

- ``gym.make_vec(id, n, vectorization="async", autoreset_mode="SameStep")`` comes here. It refuses ``vector_kwargs`` and
  ``wrappers`` for ids that have a vector of their own.
- ``gym.make_vec(id, n, vectorization_mode="async", wrappers=[...], vector_kwargs={"shared_memory": False})`` goes round this
  file; everything for the vector, ``autoreset_mode`` included, is in ``vector_kwargs``. Without ``shared_memory`` it is refused.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal

import gymnasium as gym
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv

from mise_gym.envs.catalog import ENVS, TASK_ENVS
from mise_gym.registry import unknown_name

EnvWrapper = Callable[[gym.Env[Any, Any]], gym.Env[Any, Any]]
Vectorization = Literal["sync", "async"]


def make_vector_env(  # noqa: PLR0913  # every argument is a keyword of gym.make_vec
    env_id: str,
    num_envs: int = 1,
    *,
    vectorization: Vectorization = "sync",
    autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
    wrappers: Sequence[EnvWrapper] = (),
    context: str | None = None,
    max_episode_steps: int | None = None,
    **kwargs: Any,
) -> VectorEnv[Any, Any, Any]:
    """Make several environments of one id that step together.

    Args:
        env_id: One of the ids of this package.
        num_envs: How many.
        vectorization: "sync" (one after the other, in this process) or "async" (a process each).
        autoreset_mode: What happens after an episode's end: "NextStep", "SameStep" or "Disabled".
        wrappers: Applied to each environment, the first one innermost. ``gym.make_vec`` does not hand this argument on; see the
            top of this file.
        context: How processes are started: "fork", "spawn", "forkserver"; ``None`` is Python's default. For "async" only.
        max_episode_steps: Step limit of each episode; here the same as ``max_turns``.
        **kwargs: Arguments of the environment, such as ``infos``.

    Returns:
        A vector environment whose observations are tuples of strings.

    Raises:
        UnknownNameError: No such vectorization or autoreset mode.
    """
    modes = {mode.value: mode for mode in AutoresetMode}
    if not isinstance(autoreset_mode, AutoresetMode) and autoreset_mode not in modes:
        raise unknown_name("autoreset mode", autoreset_mode, modes)
    mode = AutoresetMode(autoreset_mode)
    if max_episode_steps is not None:
        kwargs["max_turns"] = max_episode_steps
    makers = [functools.partial(_make_one, env_id, tuple(wrappers), kwargs) for _ in range(num_envs)]
    if vectorization == "sync":
        return SyncVectorEnv(makers, autoreset_mode=mode)
    if vectorization == "async":
        return AsyncVectorEnv(makers, shared_memory=False, context=context, autoreset_mode=mode)
    raise unknown_name("vectorization", vectorization, ["sync", "async"])


def _make_one(env_id: str, wrappers: Sequence[EnvWrapper], kwargs: dict[str, Any]) -> gym.Env[Any, Any]:
    env: gym.Env[Any, Any] = gym.make(f"mise_gym:{env_id}", **kwargs)
    for wrapper in wrappers:
        env = wrapper(env)
    return env


def __getattr__(name: str) -> Callable[..., VectorEnv[Any, Any, Any]]:
    """Return the vector entry point of an id: the attribute ``FTWP-v0`` makes vectors of ``mise/FTWP-v0``."""
    for row in (*ENVS, *TASK_ENVS):
        if row.id == f"mise/{name}":
            return functools.partial(make_vector_env, row.id)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
