"""Requests to a server that generates tokens for a trainer: completions with token ids, and adapters to load.

The fields are those of vLLM's OpenAI-compatible server. What it would take from the model's own ``generation_config.json`` is set
here, as a truncated or penalised distribution is not the one that the learner computes.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from mise_gym.errors import ChatError


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """Tokens that a server wrote."""

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    """Log-probability of each token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionRequest:
    """A prompt in tokens, to be continued."""

    path: ClassVar[str] = "/completions"
    schema: ClassVar[None] = None

    model: str
    """Name of a served model or adapter; the endpoint's own is not asked."""
    prompt: Sequence[int]
    max_tokens: int
    temperature: float
    stop: Sequence[str]
    """Texts that end the completion, and are part of it."""
    stop_token_ids: Sequence[int]
    """Tokens that end it, and are part of it."""
    seed: int

    @property
    def most_input_tokens(self) -> int:
        """Tokens of the prompt."""
        return len(self.prompt)

    @property
    def expected_input_tokens(self) -> int:
        """Tokens of the prompt."""
        return len(self.prompt)

    @property
    def most_output_tokens(self) -> int:
        """Tokens of the longest completion."""
        return self.max_tokens

    def body(self, model: str, with_schema: bool) -> dict[str, Any]:  # noqa: ARG002  # one request among others
        """Return what is sent."""
        untouched = {"top_p": 1.0, "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
        return {
            "model": self.model,
            "prompt": list(self.prompt),
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "seed": self.seed,
            "stop": list(self.stop),
            "stop_token_ids": list(self.stop_token_ids),
            "include_stop_str_in_output": True,
            "logprobs": 1,
            "return_token_ids": True,
            **untouched,
        }

    def read(self, body: str) -> Completion:
        """Read a completion.

        Raises:
            ChatError: It has no token ids (kind "error"), or it is no completion (passing).
        """
        try:
            choice = json.loads(body)["choices"][0]
            ids, logprobs = choice.get("token_ids"), choice["logprobs"]["token_logprobs"]
            if ids is None:
                raise ChatError(
                    "The server completes text, but does not tell the token ids that it wrote (return_token_ids). "
                    "Without them its tokens cannot be trained on. vLLM tells them since 0.10.2."
                )
            return Completion(ids=tuple(map(int, ids)), logprobs=_checked(logprobs, len(ids)))
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            raise ChatError(f"The answer is not a completion ({error!r:.100}): {body!r:.200}.", is_passing=True) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterRequest:
    """Tells a server to load an adapter from a folder that it can read, or to forget one.

    vLLM takes it when it was started with ``--enable-lora`` and ``VLLM_ALLOW_RUNTIME_LORA_UPDATING=True``.
    """

    schema: ClassVar[None] = None
    most_input_tokens: ClassVar[int] = 0
    expected_input_tokens: ClassVar[int] = 0
    most_output_tokens: ClassVar[int] = 0

    name: str
    folder: str | None
    """Where the adapter is; ``None`` forgets it."""

    @property
    def path(self) -> str:
        """Where this is sent."""
        return "/unload_lora_adapter" if self.folder is None else "/load_lora_adapter"

    def body(self, model: str, with_schema: bool) -> dict[str, Any]:  # noqa: ARG002  # one request among others
        """Return what is sent."""
        return {"lora_name": self.name} | ({} if self.folder is None else {"lora_path": self.folder})

    def read(self, body: str) -> None:
        """Take any answer: the status has said that it worked."""


def _checked(logprobs: Sequence[Any], count: int) -> tuple[float, ...]:
    values = tuple(float(value) for value in logprobs)
    if len(values) != count:
        raise ValueError(f"{len(values)} log-probabilities for {count} tokens")
    if any(math.isnan(value) or value > 1e-3 for value in values):
        raise ValueError(f"{values!r:.60} are not logarithms of probabilities")
    return values
