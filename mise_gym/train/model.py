"""A tiny language model and its tokenizer, built here from nothing."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

import torch

from mise_gym.errors import ConfigError
from mise_gym.train.ranges import check_ranges


@dataclass(frozen=True, kw_only=True)
class TinyModelConfig:
    """Shape of the model that is built when no model is given."""

    hidden_size: int = 96
    """Width of the residual stream."""
    num_layers: int = 2
    """Transformer blocks; copying a word from the recipe needs at least two."""
    num_heads: int = 6
    """Attention heads."""
    intermediate_size: int = 256
    """Width of the feed-forward layer."""
    vocab_size: int = 1024
    """Size of the byte-level BPE vocabulary."""
    max_tokens: int = 4096
    """Longest episode in tokens."""

    def __post_init__(self) -> None:
        """Check ranges, and that the heads share the width."""
        check_ranges("tiny", self, *(field.name for field in fields(self)), least=1)
        if self.hidden_size % (2 * self.num_heads):
            raise ConfigError(
                f"tiny.hidden_size is {self.hidden_size!r} and tiny.num_heads is {self.num_heads!r}; "
                "each head needs the same, even, part of the width. Choose a multiple of twice the heads."
            )


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Any:
    """Train a byte-level BPE tokenizer, which can encode any string, and wrap it for transformers."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=["<pad>", "<bos>", "<eos>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>")


def build_tiny_model(tokenizer: Any, config: TinyModelConfig, seed: int, attention: str | None = None) -> Any:
    """Build a Llama-shaped causal language model with random weights drawn from ``seed``.

    Weights have the standard deviation 1 / sqrt(width). Llama's own 0.02 is made for wide models: at a width of 96 it leaves
    attention so flat that copying from the recipe is found ten times later or never (``docs/log.md``).
    """
    from transformers import LlamaForCausalLM

    shape = tiny_shape(
        config,
        vocab_size=len(tokenizer),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        attn_implementation=attention,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(shape)


def tiny_shape(config: TinyModelConfig, **more: Any) -> Any:
    """Return transformers' configuration of the tiny model; ``more`` goes into it."""
    from transformers import LlamaConfig

    return LlamaConfig(
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        num_hidden_layers=config.num_layers,
        num_attention_heads=config.num_heads,
        num_key_value_heads=config.num_heads,
        max_position_embeddings=config.max_tokens,
        tie_word_embeddings=True,
        initializer_range=config.hidden_size**-0.5,
        **more,
    )
