"""Low-rank adapters (LoRA): a few trained weights beside frozen ones, which can be switched off or merged in."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mise_gym.extras import require
from mise_gym.registry import unknown_name
from mise_gym.train.ranges import check_ranges
from mise_gym.train.shards import like

ALL_LINEAR = "all-linear"


@dataclass(frozen=True, kw_only=True)
class LoRAConfig:
    """A low-rank adapter that is trained in place of all weights."""

    rank: int = 0
    """Rank of the adapter; 0 trains all weights and has no adapter."""
    alpha: float = 32.0
    """The adapter's output is scaled by alpha / rank."""
    dropout: float = 0.0
    """Dropout of the adapter in the warm start; reinforcement learning has none."""
    targets: str = ALL_LINEAR
    """Names of the layers that get one, with commas between them (q_proj,v_proj); all-linear is all but the output layer."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_ranges("lora", self, "rank", "alpha", "dropout")
        check_ranges("lora", self, "dropout", most=0.9)

    @property
    def is_used(self) -> bool:
        """Whether an adapter is trained."""
        return self.rank > 0


class Adapter:
    """An adapter inside a model, and the handle to it.

    The model object stays what it was, a plain causal language model of transformers; its linear layers are replaced in place by
    layers that add the adapter's output. The adapter's weights are float32 whatever the model's are, and change nothing at first.

    Args:
        model: The model; its own weights are frozen.
        config: Rank, scale and places.
        seed: Decides the adapter's first weights.
        has_dropout: Whether ``config.dropout`` is used.

    Raises:
        ConfigError: The model has no layer of a name in ``config.targets``.
        MissingExtraError: peft is not installed.
    """

    def __init__(self, model: Any, config: LoRAConfig, seed: int, *, has_dropout: bool = False) -> None:
        peft = require("peft")
        settings = peft.LoraConfig(
            r=config.rank,
            lora_alpha=config.alpha,
            lora_dropout=config.dropout if has_dropout else 0.0,
            target_modules=sorted({name for name, _ in adapted_layers(model, config.targets)}),
            task_type="CAUSAL_LM",
        )
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers for a property that is being renamed
            torch.manual_seed(seed)
            self._peft = peft.get_peft_model(model, settings)
        model.eval()

    @contextmanager
    def off(self) -> Iterator[None]:
        """Let the model compute, inside, as if there were no adapter."""
        with self._peft.disable_adapter():
            yield

    @torch.no_grad()
    def merge(self) -> None:
        """Add the adapter to the model's own weights and take it away; this handle is of no use afterwards."""
        from peft.tuners.lora import LoraLayer

        for layer in self._peft.modules():
            if isinstance(layer, LoraLayer):
                weights = layer.get_base_layer().weight
                weights.add_(layer.get_delta_weight("default").to(weights.dtype))  # in place: shards remain where they are
        self._peft.unload()

    def state_dict(self, *, keep_vars: bool = False) -> dict[str, Tensor]:
        """Return the adapter's weights, as parts of the model's; ``keep_vars`` as in torch."""
        return {name: weights for name, weights in self._peft.state_dict(keep_vars=keep_vars).items() if "lora_" in name}

    def save_pretrained(self, folder: Path, state_dict: Mapping[str, Tensor] | None = None) -> None:
        """Write the adapter's weights, or those given in their place, the way peft and transformers load them."""
        self._peft.save_pretrained(folder, state_dict=state_dict, save_embedding_layers=False)

    @torch.no_grad()
    def load(self, folder: Path) -> None:
        """Read weights that ``save_pretrained`` wrote from an adapter of the same shape."""
        from peft import get_peft_model_state_dict
        from safetensors.torch import load_file

        own = get_peft_model_state_dict(self._peft, save_embedding_layers=False)
        for name, weights in load_file(folder / "adapter_model.safetensors").items():
            own[name].copy_(like(weights, own[name]))


def merge_adapter(model: Any, folder: Path) -> Any:
    """Return a model with a saved adapter added to its own weights.

    Args:
        model: The model that the adapter was trained on; changed in place.
        folder: Where ``Adapter.save`` wrote.
    """
    peft = require("peft")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        adapted = peft.PeftModel.from_pretrained(model, folder)
    return adapted.merge_and_unload(safe_merge=True)


def adapted_layers(model: Any, targets: str) -> list[tuple[str, nn.Linear]]:
    """Return the layers of a model that get an adapter, each with the last part of its name.

    Args:
        model: A causal language model without an adapter.
        targets: As ``LoRAConfig.targets``.

    Raises:
        UnknownNameError: The model has no such layer.
    """
    head = model.get_output_embeddings()  # read row by row, past any adapter
    linear = [(name.rpartition(".")[2], module) for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    linear = [(name, module) for name, module in linear if module is not head]
    known = sorted({name for name, _ in linear})
    wanted = known if targets == ALL_LINEAR else [name.strip() for name in targets.split(",")]
    for name in wanted:
        if name not in known:
            raise unknown_name("layer for lora.targets", name, known)
    return [(name, layer) for name, layer in linear if name in wanted]
