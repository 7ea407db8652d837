"""A causal language model and its tokenizer, from a folder or from the hub."""

from pathlib import Path
from typing import Any

from mise_gym.errors import ConfigError


def load_model(name: str, dtype: str = "float32", attention: str | None = None) -> tuple[Any, Any]:
    """Load a causal language model and its tokenizer.

    Args:
        name: A folder written by ``save_pretrained``, or an id on the Hugging Face hub.
        dtype: Type of the weights: "float32", "bfloat16", "float16", or "auto" for the type that they were saved in.
        attention: Implementation of attention ("sdpa", "eager", "flash_attention_2"); ``None`` leaves transformers' choice.

    Raises:
        ConfigError: It is neither, or it is damaged; the message says what transformers found.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = _load_part("model", AutoModelForCausalLM, name, dtype=dtype, attn_implementation=attention)
    for weights in model.parameters():  # where they lie in the file decides the last bits of matrix products; a copy lies aligned
        weights.data = weights.data.clone()
    return model, _load_part("tokenizer", AutoTokenizer, name)


def _load_part(part: str, loader: Any, name: str, **settings: Any) -> Any:
    from safetensors import SafetensorError

    try:
        return loader.from_pretrained(name, **settings)
    except (OSError, ValueError, SafetensorError) as error:
        where = f"This folder holds no {part} that" if Path(name).exists() else "There is no such folder, and no such id that"
        reason = " ".join(str(error).split()).split(". ")[0].rstrip(".")
        raise ConfigError(
            f"Cannot load the {part} of {name!r}. {where} transformers can load: {reason}. "
            "Give a folder written by save_pretrained, with model and tokenizer, or an id on the Hugging Face hub."
        ) from error
