"""How much memory a run needs, computed from the shape of its model before any weights are loaded.

Weights, gradients, optimiser and cache are counted exactly. Activations follow from what the blocks of Llama and Qwen2 were
seen to keep for the backward pass; tests compare all of it with tensors.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import torch

from mise_gym.errors import ConfigError
from mise_gym.train.adapter import adapted_layers
from mise_gym.train.config import TrainConfig
from mise_gym.train.critic import Critic
from mise_gym.train.model import tiny_shape
from mise_gym.train.placement import DTypeName
from mise_gym.train.policy import MAX_LOGITS
from mise_gym.train.sharding import blocks_of, count_weights

BYTES: Final[Mapping[DTypeName, int]] = {"float32": 4, "bfloat16": 2}

KEPT: Final[Mapping[tuple[DTypeName, bool], tuple[int, int, int]]] = {
    ("float32", False): (32, 16, 8),
    ("float32", True): (26, 16, 8),
    ("bfloat16", False): (30, 9, 6),
    ("bfloat16", True): (25, 8, 4),
}
"""Type of numbers, whether only an adapter is trained -> bytes that one block keeps of one token for the backward pass: per unit
of the residual stream, of the feed-forward layer, and of keys."""

ACTION_TOKENS: Final = 16
"""What is counted for a command and the marks around it, a chat template's included."""

TABLES: Final[Mapping[bool, int]] = {False: 3, True: 9}
"""Whether tokens are chosen among all -> numbers that are in memory at a time for one logit of the whole vocabulary while its
gradient is computed: cross-entropy of the warm start; probability, entropy and exact KL of the update, and what leads back."""

SAMPLING_BYTES: Final = 20
"""What drawing from a whole vocabulary takes per token of it: log-probabilities in float32 and two tables in float64."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What memory depends on in a language model."""

    weights: int
    """Weights of the model itself."""
    adapter_weights: int
    """Weights of its adapter; 0 without one."""
    block_weights: int
    """Those of the model's weights that are in transformer blocks; the others are embeddings and output layer in the main."""
    critic_weights: int
    num_layers: int
    hidden_size: int
    intermediate_size: int
    kv_size: int
    """Width of the keys of one layer, and of its values."""
    vocab_size: int
    max_tokens: int
    """Longest sequence that it can read."""


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """Bytes, part by part."""

    always: Mapping[str, int]
    """From the beginning to the end."""
    playing: Mapping[str, int]
    """Only while episodes are played."""
    updating: Mapping[str, int]
    """Only while the model is trained."""

    @property
    def peak(self) -> int:
        """The most that is needed at any time."""
        return sum(self.always.values()) + max(sum(self.playing.values()), sum(self.updating.values()))


def find_shape(config: TrainConfig) -> Shape:
    """Return the shape of a run's model; of a model on the hub only its configuration is fetched.

    Raises:
        ConfigError: There is no such model.
    """
    from transformers import AutoModelForCausalLM

    settings = tiny_shape(config.tiny, vocab_size=config.tiny.vocab_size) if config.model is None else _settings(config.model)
    with torch.device("meta"):
        return shape_of(AutoModelForCausalLM.from_config(settings), config)


def shape_of(model: Any, config: TrainConfig) -> Shape:
    """Return the shape of a run's model, which may be without memory (torch's "meta" device)."""
    settings, lora = model.config.get_text_config(), config.lora
    width, heads = settings.hidden_size, settings.num_attention_heads
    layers = adapted_layers(model, lora.targets) if lora.is_used else []
    with torch.device("meta"):
        critic = Critic(width, config.ppo.critic)
    return Shape(
        weights=sum(weights.numel() for weights in model.parameters()),
        block_weights=count_weights(blocks_of(model)),
        adapter_weights=sum(lora.rank * (layer.in_features + layer.out_features) for _, layer in layers),
        critic_weights=sum(weights.numel() for weights in critic.parameters()),
        num_layers=settings.num_hidden_layers,
        hidden_size=width,
        intermediate_size=getattr(settings, "intermediate_size", None) or 4 * width,
        kv_size=(getattr(settings, "num_key_value_heads", None) or heads)
        * (getattr(settings, "head_dim", None) or width // heads),
        vocab_size=settings.vocab_size,
        max_tokens=getattr(settings, "max_position_embeddings", None) or 1_000_000,
    )


def estimate_memory(shape: Shape, config: TrainConfig, processes: int = 1) -> MemoryEstimate:
    """Return what a run needs where the model is, in each process.

    Args:
        shape: Of the model.
        config: Numbers, adapter, environments, turns and the size of a pass.
        processes: How many share the run, and with it the environments; sharded weights too.
    """
    config = replace(config, ppo=replace(config.ppo, num_envs=-(-config.ppo.num_envs // processes)))
    is_adapted = config.lora.is_used
    parts = processes if config.model_config.is_sharded else 1
    stored = BYTES[config.model_config.stored_dtype(is_trained=not is_adapted)]
    trained = (shape.adapter_weights if is_adapted else shape.weights) // parts + shape.critic_weights
    frozen = shape.weights // parts if is_adapted else 0
    return MemoryEstimate(
        always={
            "weights": frozen * stored + trained * 4,
            "reference": 0 if is_adapted else trained * 4,
            "gradients": trained * 4,
            "optimiser (AdamW)": trained * 8,
        },
        playing={
            "weights put together": gathered_bytes(shape, config) if config.model_config.is_sharded else 0,
            "cache of keys and values": cache_bytes(shape, config),
            "one layer at work": _reading(shape, config),
            "choices among all tokens": _writes_freely(config) * (sampling_bytes(shape, config) + _head_copy(shape, config)),
        },
        updating={
            "blocks put together": block_bytes(shape, config) if config.model_config.is_sharded else 0,
            "activations": activation_bytes(shape, config),
            "logits": logit_bytes(shape, config),
            "features of the reference": anchor_bytes(shape, config) // processes,
        },
    )


def gathered_bytes(shape: Shape, config: TrainConfig) -> int:
    """Return what sharded weights take while all are together: each once, and the largest unit twice while it is copied."""
    blocks = (shape.block_weights + shape.adapter_weights) * BYTES[config.model_config.dtype]
    outside = _outside_bytes(shape, config)
    return blocks + outside + max(blocks // shape.num_layers, outside)


def block_bytes(shape: Shape, config: TrainConfig) -> int:
    """Return what an update puts together: two blocks, as the next comes early, what is outside of them, and gradients."""
    is_adapted = config.lora.is_used
    block = (shape.block_weights + shape.adapter_weights) // shape.num_layers
    trained = shape.adapter_weights // shape.num_layers if is_adapted else block
    computed = BYTES[config.model_config.dtype]
    outside = _outside_bytes(shape, config) * (1 if is_adapted else 3)  # weights, gradient, reference
    return outside + 2 * block * computed + trained * (computed + 4)  # gradients are summed in float32


def _outside_bytes(shape: Shape, config: TrainConfig) -> int:
    stored = config.model_config.stored_dtype(is_trained=not config.lora.is_used)
    return (shape.weights - shape.block_weights) * BYTES[stored]


def cache_bytes(shape: Shape, config: TrainConfig) -> int:
    """Return the bytes of keys and values when all environments are in their last turn and observations are as long as can be."""
    tokens = config.ppo.num_envs * min(shape.max_tokens, config.games.max_turns * _turn_tokens(config))
    return 2 * shape.num_layers * shape.kv_size * tokens * BYTES[config.model_config.dtype]


def activation_bytes(shape: Shape, config: TrainConfig) -> int:
    """Return what one pass keeps for the backward pass: all of every block, or all of one and the inputs of the others."""
    settings = config.model_config
    residual, inner, keys = KEPT[settings.dtype, config.lora.is_used]
    block = residual * shape.hidden_size + inner * shape.intermediate_size + keys * shape.kv_size
    if not settings.gradient_checkpointing:
        return settings.max_tokens_per_pass * shape.num_layers * block
    stored = BYTES[settings.stored_dtype(is_trained=not config.lora.is_used)]
    return settings.max_tokens_per_pass * (shape.num_layers * shape.hidden_size * stored + block)


def logit_bytes(shape: Shape, config: TrainConfig) -> int:
    """Return what logits of the whole vocabulary take in an update or in the warm start, with all that is computed from them."""
    is_free = _writes_freely(config)
    logits = min(MAX_LOGITS, config.model_config.max_tokens_per_pass * shape.vocab_size)
    return TABLES[is_free] * 4 * logits + is_free * _head_copy(shape, config)


def anchor_bytes(shape: Shape, config: TrainConfig) -> int:
    """Return what is kept of the reference for all decisions of a rollout, each turn being as long as can be."""
    decisions = config.ppo.episodes_per_iteration * config.games.max_turns * _written_tokens(config)
    return decisions * shape.hidden_size * BYTES[_stored_dtype(config)]


def sampling_bytes(shape: Shape, config: TrainConfig) -> int:
    """Return what it takes to draw a token of the whole vocabulary in every environment."""
    return SAMPLING_BYTES * config.ppo.num_envs * shape.vocab_size


def _head_copy(shape: Shape, config: TrainConfig) -> int:
    """Return the bytes of the whole output layer in float32, where it is stored in another type."""
    return 0 if _stored_dtype(config) == "float32" else 4 * shape.vocab_size * shape.hidden_size


def _stored_dtype(config: TrainConfig) -> DTypeName:
    return config.model_config.stored_dtype(is_trained=not config.lora.is_used)


def _writes_freely(config: TrainConfig) -> bool:
    return config.decoding == "free" or config.thinking


def _written_tokens(config: TrainConfig) -> int:
    """Return the most tokens that are written in a turn."""
    return ACTION_TOKENS + config.max_action_tokens * _writes_freely(config)


def _reading(shape: Shape, config: TrainConfig) -> int:
    """Return what one layer needs while all environments' observations are read at once."""
    tokens = config.ppo.num_envs * _turn_tokens(config)
    return tokens * (8 * shape.hidden_size + 3 * shape.intermediate_size) * BYTES[config.model_config.dtype]


def _turn_tokens(config: TrainConfig) -> int:
    return config.max_observation_tokens + _written_tokens(config)


def _settings(name: str) -> Any:
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(name)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split()).split(". ")[0]
        raise ConfigError(f"Cannot read the configuration of the model {name!r}: {reason}. Give a folder or an id.") from error
