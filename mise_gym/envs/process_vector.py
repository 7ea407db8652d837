"""ProcessVectorEnv: environments in a few processes, several in each.

Gymnasium's ``AsyncVectorEnv`` starts a process per environment. With more environments than processor cores that only costs: each
process has memory, start-up and, for ScienceWorld, a Java machine of its own that compiles the same code.
"""

import functools
import itertools
import multiprocessing
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, Final

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.vector.utils import CloudpickleWrapper, batch_space, concatenate, create_empty_array, iterate

from mise_gym.errors import MiseError, SimulatorCrashed

Maker = Callable[[], gym.Env[Any, Any]]
_PATIENCE_SECONDS: Final = 10.0
"""How long a process may take to close its environments."""
_DESCRIPTION: Final = ("single_observation_space", "single_action_space", "metadata", "render_mode")


class ProcessVectorEnv(VectorEnv[Any, Any, Any]):
    """Environments that step together, spread evenly over processes; within a process they step one after the other.

    Args:
        makers: Make one environment each.
        processes: How many processes.
        context: How they are started: "fork", "spawn", "forkserver"; ``None`` is Python's default.
        autoreset_mode: What happens after an episode's end.

    Raises:
        SimulatorCrashed: From any method: a process died. Make the vector again. What an environment raises comes out as it is.
    """

    def __init__(self, makers: Sequence[Maker], *, processes: int, context: str | None, autoreset_mode: AutoresetMode) -> None:
        self.num_envs = len(makers)
        bounds = np.linspace(0, len(makers), min(processes, len(makers)) + 1).astype(int).tolist()
        self._shares = [slice(*pair) for pair in itertools.pairwise(bounds)]
        self._workers = [_Worker(makers[share], context, autoreset_mode) for share in self._shares]
        self._end_processes = weakref.finalize(self, _end, self._workers)
        self._observations: list[Any] = [None] * self.num_envs
        description = self._workers[0].ask("describe")
        for name, value in zip(_DESCRIPTION, description, strict=True):
            setattr(self, name, value)
        self._share_spaces = [batch_space(self.single_observation_space, share.stop - share.start) for share in self._shares]
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset all environments, or those in ``options["reset_mask"]``; as in ``gymnasium.vector.SyncVectorEnv``."""
        if seed is None:
            seeds: list[int | None] = [None] * self.num_envs
        else:
            seeds = [seed + place for place in range(self.num_envs)] if isinstance(seed, int) else list(seed)
        if len(seeds) != self.num_envs:
            raise ValueError(f"There are {len(seeds)} seeds for {self.num_envs} environments. Give one each, or one number.")
        rest = dict(options or {})
        mask = rest.pop("reset_mask", None)
        requests = []
        for share in self._shares:
            own = rest if mask is None else {**rest, "reset_mask": mask[share]}
            is_asked = mask is None or bool(mask[share].any())
            requests.append(("reset", (seeds[share], own)) if is_asked else None)
        if mask is not None and not any(requests):
            raise ValueError("options['reset_mask'] is true nowhere. Name at least one environment to reset.")
        answers = self._ask_all(requests)
        return self._batch([answer and answer[0] for answer in answers]), self._merge(
            [answer and answer[1] for answer in answers]
        )

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Take one action in every environment; as in ``gymnasium.vector.SyncVectorEnv``."""
        each = list(iterate(self.action_space, actions))
        if len(each) != self.num_envs:
            raise ValueError(f"There are {len(each)} actions for {self.num_envs} environments. Give one each.")
        answers = self._ask_all([("step", (each[share],)) for share in self._shares])
        rewards, terminations, truncations = (np.concatenate([answer[part] for answer in answers]) for part in (1, 2, 3))
        observations = self._batch([answer[0] for answer in answers])
        return observations, rewards, terminations, truncations, self._merge([answer[4] for answer in answers])

    def call(self, name: str, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Call a method of every environment, or read an attribute, and return the results."""
        answers = self._ask_all([("call", (name, args, kwargs))] * len(self._shares))
        return tuple(result for answer in answers for result in answer)

    def get_attr(self, name: str) -> tuple[Any, ...]:
        """Read an attribute of every environment."""
        return self.call(name)

    def set_attr(self, name: str, values: Any) -> None:
        """Set an attribute of every environment, to one value or to one value each."""
        each = list(values) if isinstance(values, list | tuple) else [values] * self.num_envs
        if len(each) != self.num_envs:
            raise ValueError(f"There are {len(each)} values for {self.num_envs} environments. Give one each, or one.")
        self._ask_all([("set_attr", (name, each[share])) for share in self._shares])

    def render(self) -> tuple[Any, ...]:
        """Render every environment."""
        return self.call("render")

    def close_extras(self, **_: Any) -> None:
        """End the processes."""
        self._end_processes()

    def _ask_all(self, requests: Sequence[tuple[str, tuple[Any, ...]] | None]) -> list[Any]:
        """Send every process its request, if it has one, and return the answers; all are awaited before one's error is raised."""
        for worker, request in zip(self._workers, requests, strict=True):
            if request is not None:
                worker.send(*request)
        answers = [worker.receive() if request else None for worker, request in zip(self._workers, requests, strict=True)]
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return answers

    def _batch(self, parts: Sequence[Any]) -> Any:
        """Return the observations of all environments, as ``observation_space`` has them."""
        for share, space, part in zip(self._shares, self._share_spaces, parts, strict=True):
            if part is not None:
                self._observations[share] = list(iterate(space, part))
        out: Any = create_empty_array(self.single_observation_space, n=self.num_envs, fn=np.zeros)
        return concatenate(self.single_observation_space, self._observations, out)

    def _merge(self, parts: Sequence[dict[str, Any] | None]) -> dict[str, Any]:
        """Put the information of all shares together: what a share does not tell is 0, ``False`` or ``None`` there."""
        merged: dict[str, Any] = {}
        for name in dict.fromkeys(name for part in parts for name in part or ()):
            values = [part.get(name) if part else None for part in parts]
            known = [value for value in values if value is not None]
            if isinstance(known[0], dict):
                merged[name] = self._merge(values)
            else:
                pairs = zip(self._shares, values, strict=True)
                merged[name] = np.concatenate([_nothing(share, known) if value is None else value for share, value in pairs])
        return merged


def _nothing(share: slice, known: Sequence[Any]) -> Any:
    """Return what stands for a share that does not tell what others tell, which are ``known``."""
    dtype = np.result_type(*known)
    return np.full((share.stop - share.start, *known[0].shape[1:]), None if dtype.hasobject else 0, dtype=dtype)


class _Worker:
    """A process with some of the environments, and the line to it."""

    def __init__(self, makers: Sequence[Maker], context: str | None, autoreset_mode: AutoresetMode) -> None:
        ways = multiprocessing.get_context(context)
        self._line, other_end = ways.Pipe()
        make = CloudpickleWrapper(functools.partial(SyncVectorEnv, list(makers), autoreset_mode=autoreset_mode))  # type: ignore[type-var]  # it wraps any function
        arguments = (make, other_end, self._line)
        self._process = ways.Process(target=_serve, args=arguments, daemon=True)  # type: ignore[attr-defined]  # every context has it
        self._process.start()
        other_end.close()

    def ask(self, method: str, *args: Any) -> Any:
        """Send a request and return the answer."""
        self.send(method, args)
        answer = self.receive()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def send(self, method: str, args: tuple[Any, ...]) -> None:
        """Send a request; a dead process is noticed when its answer is received."""
        with suppress(OSError):
            self._line.send((method, args))

    def receive(self) -> Any:
        """Return the answer to the oldest request, which may be an exception."""
        try:
            return self._line.recv()
        except (EOFError, OSError):
            self._process.join(_PATIENCE_SECONDS)
            return SimulatorCrashed(
                f"A process of the vector has ended (exit status {self._process.exitcode}). Make the vector again."
            )

    def hang_up(self) -> None:
        """Close the line, at which the process closes its environments and ends."""
        self._line.close()

    def end(self) -> None:
        """Wait for the process, and kill it if it takes too long."""
        self._process.join(_PATIENCE_SECONDS)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _end(workers: Sequence[_Worker]) -> None:
    """End processes, at the same time."""
    for worker in workers:
        worker.hang_up()
    for worker in workers:
        worker.end()


def _serve(make: Callable[[], SyncVectorEnv], line: Connection, parents_end: Connection) -> None:
    """Answer requests until the other end of the line is closed."""
    parents_end.close()
    envs: SyncVectorEnv | None = None
    try:
        while True:
            method, args = line.recv()
            try:
                envs = envs or make()
                answer = _answer(envs, method, args)
            except (MiseError, gym.error.Error, ValueError, TypeError, AttributeError, AssertionError) as error:
                answer = error
            line.send(answer)
    except (EOFError, OSError, KeyboardInterrupt):
        return  # nobody listens any more
    finally:
        if envs is not None:
            envs.close()


def _answer(envs: SyncVectorEnv, method: str, args: tuple[Any, ...]) -> Any:
    match method:
        case "reset":
            return envs.reset(seed=args[0], options=args[1])
        case "step":
            return envs.step(args[0])
        case "call":
            return envs.call(args[0], *args[1], **args[2])
        case "set_attr":
            return envs.set_attr(*args)
    return [getattr(envs, name) for name in _DESCRIPTION]
