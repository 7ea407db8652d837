"""Sharded weights (FSDP2): each process keeps its part of every weight, of its gradient and of its optimiser state.

A block's weights are put together when it is read, and let go afterwards; that needs all processes at once. Where they are out of
step, as in playing, the weights are whole for all of the time (``whole``). What is sharded are the language model's weights; the
critic is small, and every process holds all of it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from mise_gym.errors import ConfigError
from mise_gym.llm.batching import token_batches
from mise_gym.train.distributed import gather_objects, share, sum_gradients, total, world_size
from mise_gym.train.policy import LLMPolicy, Reader


def check_sharding() -> None:
    """Refuse to shard where there is nothing to share with, or nothing that shards.

    Raises:
        ConfigError: There is one process only, or torch is too old.
    """
    from torch.distributed import fsdp

    if world_size() == 1:
        raise ConfigError(
            "model_config.sharding is 'fsdp', and this is the only process. Start several with torchrun or accelerate launch, "
            "or set model_config.sharding to 'none'."
        )
    if not hasattr(getattr(fsdp, "FSDPModule", None), "reset_iter_state"):
        raise ConfigError(
            f"model_config.sharding is 'fsdp', which needs torch 2.13, and this is {torch.__version__}. "
            "Run: pip install -U torch, or set model_config.sharding to 'none'."
        )


def shard(policy: LLMPolicy, device: torch.device) -> None:
    """Divide the weights of a policy's language model among the processes, in place.

    Every transformer block is one unit; what is outside of blocks, embeddings and output layer in the main, is another. Units are
    put together in bfloat16 where the policy computes in it, but for the one outside of blocks. Gradients are summed over
    processes, in float32.

    Args:
        policy: The same in every process, and not used yet; on the CPU, if it is larger than the device.
        device: Where it shall be.

    Raises:
        ConfigError: The language model has no blocks.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method

    blocks = blocks_of(policy.model)
    if not blocks:
        raise ConfigError(
            f"model_config.sharding is 'fsdp', and {type(policy.model).__name__} has no blocks that could be read one by one. "
            "Set model_config.sharding to 'none'."
        )
    mesh = init_device_mesh(device.type, (world_size(),))
    computed_in = torch.bfloat16 if policy.computes_in_bfloat16 else None
    in_blocks = MixedPrecisionPolicy(param_dtype=computed_in, reduce_dtype=torch.float32, cast_forward_inputs=False)
    for block in blocks:
        fully_shard(block, mesh=mesh, mp_policy=in_blocks)
    policy.value_head.to(device)
    critic = set(policy.value_head.parameters())
    fully_shard(policy, mesh=mesh, mp_policy=MixedPrecisionPolicy(reduce_dtype=torch.float32), ignored_params=critic)
    register_fsdp_forward_method(policy, "trunk")
    for unit in _units(policy):
        unit.set_gradient_divide_factor(1.0)
        unit.set_force_sum_reduction_for_comms(True)
    policy.is_sharded = True
    with torch.no_grad():  # the first reading tells torch which unit is the root
        policy.features(torch.zeros((1, 1), dtype=torch.long, device=device))
    reshard(policy)


def blocks_of(model: nn.Module) -> list[nn.Module]:
    """Return the transformer blocks of a language model: the list of modules with the most weights; none if it has no list."""
    lists = [list(module) for module in model.modules() if isinstance(module, nn.ModuleList)]
    return max(lists, key=count_weights, default=[])


def count_weights(modules: Sequence[nn.Module]) -> int:
    """Return how many weights are in some modules."""
    return sum(weights.numel() for module in modules for weights in module.parameters())


@contextmanager
def whole(policy: LLMPolicy) -> Iterator[None]:
    """Keep all weights together inside, so that processes may read the policy as often as they like; all must enter and leave.

    Takes the memory of the whole model in the type that it computes in. Does nothing where weights are not sharded.
    """
    if not policy.is_sharded:
        yield
        return
    reshard(policy)
    for unit in _units(policy):
        unit.set_reshard_after_forward(False, recurse=False)
        unit.unshard()
    try:
        yield
    finally:
        reshard(policy)


def reshard(reader: Reader) -> None:
    """Let go of everything that is not this process's part, after the last of several readings without a gradient.

    Does nothing where weights are not sharded.
    """
    if not isinstance(reader, LLMPolicy) or not reader.is_sharded:
        return
    reader.reset_iter_state()  # type: ignore[operator]  # fully_shard adds it
    for unit in _units(reader):
        unit.set_reshard_after_forward(unit is not reader, recurse=False)  # the output layer is used when the trunk is done


def passes_of(policy: LLMPolicy, rows: Sequence[int], lengths: Sequence[int]) -> tuple[list[list[int]], int]:
    """Divide this process's share of a minibatch into what goes through the model together.

    Stand-ins make up for what a process has less than others: where weights are sharded all must make the same number of passes,
    and one in any case, for the sum of gradients needs everybody. What is read of a stand-in must get the weight 0.

    Args:
        policy: Who reads.
        rows: Episodes of the whole minibatch.
        lengths: Tokens of each episode that there is.

    Returns:
        Episodes of each pass, and how many of the passes count; the stand-ins are behind them.
    """
    mine = share(rows)
    groups = token_batches([lengths[row] for row in mine], policy.max_tokens_per_pass)
    passes = [[mine[place] for place in group] for group in groups]
    needed = max(gather_objects(len(passes))) if policy.is_sharded else 1
    stand_in = min(rows, key=lambda row: lengths[row])
    return [*passes, *([[stand_in]] * (needed - len(passes)))], len(passes)


def reduce_gradients(policy: LLMPolicy, max_norm: float) -> Tensor:
    """Sum the gradients over processes, scale them down to a norm if it is larger, and return what it was.

    Shards are sums already, from the backward pass; their norm is that of the whole.
    """
    if not policy.is_sharded:
        sum_gradients(policy.parameters())
        return nn.utils.clip_grad_norm_(policy.parameters(), max_norm)
    sum_gradients(policy.value_head.parameters())
    shards = [weights.grad.to_local() for weights in policy.model.parameters() if weights.grad is not None]
    loose = [weights.grad for weights in policy.value_head.parameters() if weights.grad is not None]
    norm = (total(nn.utils.get_total_norm(shards).square()) + nn.utils.get_total_norm(loose).square()).sqrt()
    factor = (max_norm / (norm + 1e-6)).clamp(max=1)  # as clip_grad_norm_ has it
    for gradient in (*shards, *loose):
        gradient.mul_(factor)
    return norm


def _units(policy: LLMPolicy) -> list[Any]:
    """Return the modules whose weights are put together at a time; the policy itself, for what is outside of blocks, is first."""
    from torch.distributed.fsdp import FSDPModule

    return [module for module in policy.modules() if isinstance(module, FSDPModule)]
