"""Several processes that train one model: each plays, judges and reads its share, and all hold the same weights.

Whatever decides something (episodes, rewards, values, losses) is gathered, so that every process decides the same and N processes
do what one would do. In a single process every function here returns at once what it was given.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar

import torch
from torch import Tensor
from torch import distributed as dist

from mise_gym.extras import require
from mise_gym.rewards.base import Judge, JudgeResult
from mise_gym.rewards.pipeline import ask
from mise_gym.types import Episode

Item = TypeVar("Item")
Value = TypeVar("Value")
Params = ParamSpec("Params")

PATIENCE: Final = timedelta(days=1)
"""How long a process waits for the others; one of them makes the warm start alone. When one dies, its launcher ends them all."""


@contextmanager
def joined(launched: int) -> Iterator[None]:
    """Join the other processes that a launcher (``accelerate launch`` or ``torchrun``) has started, and leave them at the end.

    Args:
        launched: How many there are; nothing happens for 1.

    Raises:
        MissingExtraError: There are several, and accelerate is not installed.
    """
    if launched == 1:
        yield
        return
    state = require("accelerate").PartialState(timeout=PATIENCE)
    try:
        yield
    finally:
        state.destroy_process_group()


def world_size() -> int:
    """Return the number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Return the number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def is_main() -> bool:
    """Return whether this process writes the files and shows the progress."""
    return rank() == 0


def main_only(function: Callable[Params, None]) -> Callable[Params, None]:
    """Make a function that writes do nothing but in the main process."""

    @wraps(function)
    def guarded(*args: Params.args, **kwargs: Params.kwargs) -> None:
        if is_main():
            function(*args, **kwargs)

    return guarded


@contextmanager
def main_first() -> Iterator[None]:
    """Let the main process do the work inside; the others come afterwards and find it done."""
    if not is_main():
        wait()
    try:
        yield
    finally:
        if is_main():
            wait()


def wait() -> None:
    """Wait until every process has come here."""
    if world_size() > 1:
        dist.barrier()


def gather_objects(item: Item) -> list[Item]:
    """Return what each process has given, in the order of the processes; any object that can be pickled."""
    if world_size() == 1:
        return [item]
    items: list[Any] = [None] * world_size()
    dist.all_gather_object(items, item)
    return items


def share(items: Sequence[Item]) -> list[Item]:
    """Return this process's part of ``items``; the parts differ by one in length at most, and may be empty."""
    return list(items[rank() :: world_size()])


def unshare(items: Sequence[Item]) -> list[Item]:
    """Put the parts of all processes together again, in the order that they had before ``share``."""
    parts = gather_objects(list(items))
    return [parts[index % len(parts)][index // len(parts)] for index in range(sum(map(len, parts)))]


def merge(items: Mapping[Item, Value]) -> dict[Item, Value]:
    """Return the union of every process's mapping; no key may be in two of them."""
    return {key: value for part in gather_objects(dict(items)) for key, value in part.items()}


def total(values: Tensor) -> Tensor:
    """Return the sum over processes, element by element; every process gets the same bits."""
    if world_size() > 1:
        dist.all_reduce(values)
    return values


def sum_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Replace each gradient by its sum over processes.

    A process's loss must be its part of the sum that one process would have computed, not a mean of its own; then the sum of
    gradients is that of one process, however uneven the parts are. All gradients of one type travel in one message.
    """
    if world_size() == 1:
        return
    by_type: dict[torch.dtype, list[Tensor]] = {}
    for parameter in parameters:
        if parameter.grad is not None:
            by_type.setdefault(parameter.grad.dtype, []).append(parameter.grad)
    for gradients in by_type.values():
        message = total(torch.cat([gradient.flatten() for gradient in gradients]))
        for gradient, part in zip(gradients, torch.split(message, [gradient.numel() for gradient in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))


class SharedJudge:
    """Splits the episodes among the processes and tells every process all results.

    Args:
        judge: What judges a share.
    """

    def __init__(self, judge: Judge) -> None:
        self.name = judge.name
        self._judge = judge

    def judge(self, episodes: Sequence[Episode]) -> list[JudgeResult]:
        """Return one result per episode, in order; a judge that breaks down in one process fails that process's episodes only."""
        mine = share(episodes)
        return unshare(ask(self._judge, mine) if mine else [])
