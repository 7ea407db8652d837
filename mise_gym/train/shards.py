"""Tensors of which every process holds a part: put together for a file, and divided again when the file is read.

Files hold whole tensors only, so that a run may go on in any number of processes. What is not divided passes through unchanged.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mise_gym.train.distributed import is_main


def gathered(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a nested state in which shards are put together, on the CPU of the main process.

    All processes must call it, and the others get empty tensors in the place of shards. What is not sharded is left as it is.
    Weights that are one object, as tied ones in ``state_dict(keep_vars=True)``, remain one.
    """
    put_together: dict[int, Tensor] = {}

    def gather(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: gather(part) for name, part in value.items()}
        if not is_shard(value):
            return value.detach() if isinstance(value, Tensor) else value
        if id(value) not in put_together:
            together = value.detach().full_tensor()
            put_together[id(value)] = together.cpu() if is_main() else torch.empty(0)
        return put_together[id(value)]

    return {name: gather(value) for name, value in state.items()}


def like(value: Tensor, weights: Tensor) -> Tensor:
    """Return a whole tensor as the other one is: this process's part of it, if that is a shard."""
    if not is_shard(weights):
        return value
    from torch.distributed.tensor import distribute_tensor

    part = distribute_tensor(value.to(weights.device), weights.device_mesh, weights.placements, src_data_rank=None)  # type: ignore[attr-defined]
    return part.clone()  # and not a view, which would keep the whole


def load_whole(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Put whole weights into a module, sharded or not."""
    own = module.state_dict()
    module.load_state_dict({name: like(value, own[name]) for name, value in state.items()})


def optimizer_state_like(state: Mapping[str, Any], weights: Sequence[Tensor]) -> dict[str, Any]:
    """Return a whole state of an optimiser in shards as the weights are.

    Args:
        state: As ``gathered(optimizer.state_dict())``.
        weights: All weights of the optimiser, in its order.
    """
    parts = {
        index: {name: like(value, weights[index]) if value.ndim else value for name, value in part.items()}
        for index, part in state["state"].items()
    }
    return {**state, "state": parts}


def is_shard(value: Any) -> bool:
    """Return whether a value is this process's part of a tensor."""
    return isinstance(value, Tensor) and hasattr(value, "full_tensor")
