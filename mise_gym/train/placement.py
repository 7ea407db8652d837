"""Where the language model lies, in which numbers it computes, and what it keeps for the backward pass."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from mise_gym.errors import ConfigError
from mise_gym.train.ranges import check_ranges

DTypeName = Literal["float32", "bfloat16"]
ShardingName = Literal["none", "fsdp"]
AttentionName = Literal["sdpa", "eager", "flash_attention_2"]


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """How the language model is loaded and run."""

    device: str = "auto"
    """Where it runs: "cpu", "cuda", "cuda:1"; "auto" is the GPU of this process if there is one."""
    dtype: DTypeName = "float32"
    """What it computes in. With bfloat16, weights that are trained stay float32 and are cast as they are used."""
    attention: AttentionName = "sdpa"
    """Implementation of attention; flash_attention_2 needs bfloat16, a GPU and the package flash-attn."""
    sharding: ShardingName = "none"
    """Of several processes, whether each holds the whole model, or with fsdp its part of weights, gradients and optimiser."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass instead of keeping them: a third more time, far less memory."""
    max_tokens_per_pass: int = 4096
    """Most tokens, padding included, that go through the model at once in training; a larger minibatch is read in several
    passes, of which the gradients are added up."""

    def __post_init__(self) -> None:
        """Check ranges, and that flash attention gets the numbers it can work with."""
        check_ranges("model_config", self, "max_tokens_per_pass", least=1)
        if self.attention == "flash_attention_2" and self.dtype != "bfloat16":
            raise ConfigError(
                f"model_config.attention is 'flash_attention_2' and model_config.dtype is {self.dtype!r}; it works in bfloat16 "
                "only. Set model_config.dtype to 'bfloat16', or model_config.attention to 'sdpa'."
            )

    @property
    def is_sharded(self) -> bool:
        """Whether each process holds its part of the weights only."""
        return self.sharding != "none"

    def stored_dtype(self, *, is_trained: bool) -> DTypeName:
        """Return the type in which weights are kept: what is trained needs the precision of float32 to add up small steps."""
        return "float32" if is_trained else self.dtype


def find_device(name: str) -> torch.device:
    """Return the device of ``ModelConfig.device``.

    Raises:
        ConfigError: There is no such device here.
    """
    if name == "auto":
        return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch asserts that it was built for the device
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"model_config.device is {name!r}, which cannot be used here: {reason}. Give 'cpu' or 'auto'."
        ) from error
    return device


def check_attention(name: AttentionName) -> None:
    """Refuse an implementation of attention that is not installed.

    Raises:
        ConfigError: Its package or its device is missing.
    """
    from transformers.utils import is_flash_attn_2_available

    if name == "flash_attention_2" and not is_flash_attn_2_available():
        raise ConfigError(
            "model_config.attention is 'flash_attention_2', but flash-attn or a GPU for it is missing. "
            "Run: pip install flash-attn, or set model_config.attention to 'sdpa'."
        )


def place(model: Any, config: ModelConfig, *, is_trained: bool) -> Any:
    """Put a causal language model where it shall run, without dropout, and return it.

    Args:
        model: The model; changed in place.
        config: Device, numbers and checkpointing.
        is_trained: Whether its own weights will be trained, and not only an adapter's.
    """
    without_dropout(model)
    if config.gradient_checkpointing:
        enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable  # older name
        enable({"use_reentrant": False})
    return model.to(find_device(config.device), getattr(torch, config.stored_dtype(is_trained=is_trained))).eval()


def without_dropout(model: nn.Module) -> None:
    """Switch dropout off for good: PPO compares a policy with itself, and dropout would make it differ from itself."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(getattr(module, "attention_dropout", None), float):
            setattr(module, "attention_dropout", 0.0)  # noqa: B010  # torch's types allow modules only
