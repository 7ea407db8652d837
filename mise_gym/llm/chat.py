"""A chat request, its reply, and how a reply is read from the body of an answer."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Final

from mise_gym.errors import ChatError

CHARACTERS_PER_TOKEN: Final = 3.5
"""How many characters of quoted text make a token, roughly; used for estimates only."""

_OVERHEAD_TOKENS: Final = 16
"""What a chat template adds to a message, generously."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """What a model is asked."""

    path: ClassVar[str] = "/chat/completions"

    messages: tuple[Mapping[str, str], ...]
    """Each with ``role`` and ``content``."""
    parameters: Mapping[str, Any]
    """Sampling parameters of the endpoint, such as ``temperature``."""
    schema: Mapping[str, Any] | None = None
    """JSON schema of the reply, enforced by servers that can."""

    @property
    def most_input_tokens(self) -> int:
        """A bound: a token is at least one byte."""
        return sum(len(message["content"].encode()) + _OVERHEAD_TOKENS for message in self.messages)

    @property
    def expected_input_tokens(self) -> int:
        """An estimate from the number of characters."""
        return sum(round(len(message["content"]) / CHARACTERS_PER_TOKEN) + _OVERHEAD_TOKENS for message in self.messages)

    @property
    def most_output_tokens(self) -> int:
        """What the endpoint may write at most; 0 when the parameters do not say."""
        return int(self.parameters.get("max_completion_tokens") or self.parameters.get("max_tokens") or 0)

    def body(self, model: str, with_schema: bool) -> dict[str, Any]:
        """Return what is sent."""
        body: dict[str, Any] = {"model": model, "messages": [dict(message) for message in self.messages], **self.parameters}
        if with_schema and self.schema is not None:
            schema = {"name": "reply", "strict": True, "schema": self.schema}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        return body

    def read(self, body: str) -> "ChatReply":
        """Read the answer, as ``read_reply`` does."""
        return read_reply(body)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenChoice:
    """One token of a reply, and what the model might have written in its place."""

    token: str
    alternatives: Mapping[str, float]
    """Token -> natural logarithm of its probability, the chosen token included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatReply:
    """What a model answered."""

    text: str
    was_cut: bool = False
    """Whether the reply reached the token limit."""
    tokens: tuple[TokenChoice, ...] = field(default=())
    """The reply token by token, when ``logprobs`` was asked for."""

    def to_json(self) -> str:
        """Return the reply as one line."""
        return json.dumps(asdict(self), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> "ChatReply":
        """Return the reply of a line that ``to_json`` wrote."""
        record = json.loads(text)
        return cls(**record | {"tokens": tuple(TokenChoice(**choice) for choice in record["tokens"])})


def read_reply(body: str) -> ChatReply:
    """Read a chat completion.

    Raises:
        ChatError: The model refused (kind "refused"), or the body is not a chat completion (kind "error", passing).
    """
    try:
        record = json.loads(body, parse_constant=_not_a_number)
        choice = record["choices"][0]
        message = choice["message"]
        refusal, content = message.get("refusal"), message.get("content")
        if refusal or choice.get("finish_reason") == "content_filter":
            raise ChatError(f"The model refused: {refusal or 'content filter'!r:.200}.", kind="refused")
        return ChatReply(
            text=_text(content),
            was_cut=choice.get("finish_reason") == "length",
            tokens=_tokens(choice.get("logprobs")),
        )
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise ChatError(f"The answer is not a chat completion ({error!r:.100}): {body!r:.200}.", is_passing=True) from error


def read_usage(body: str) -> tuple[int, int] | None:
    """Return the input and output tokens that a chat completion tells, or ``None`` where it tells none that make sense."""
    try:
        usage = json.loads(body)["usage"]
        counts = usage["prompt_tokens"], usage["completion_tokens"]
    except (ValueError, KeyError, TypeError):
        return None
    return counts if all(isinstance(count, int) and count >= 0 for count in counts) else None


def _text(content: Any) -> str:
    if not (content is None or isinstance(content, str)):
        raise TypeError(f"the content is a {type(content).__name__}")
    return content or ""


def _tokens(logprobs: Any) -> tuple[TokenChoice, ...]:
    entries = (logprobs or {}).get("content") or ()
    return tuple(
        TokenChoice(
            token=entry["token"],
            alternatives={entry["token"]: _log_probability(entry)}
            | {other["token"]: _log_probability(other) for other in entry.get("top_logprobs") or ()},
        )
        for entry in entries
    )


def _log_probability(entry: Mapping[str, Any]) -> float:
    value = float(entry["logprob"])
    if math.isnan(value) or value > 1e-3:
        raise ValueError(f"{value!r} is not the logarithm of a probability")
    return value


def _not_a_number(name: str) -> float:
    raise ValueError(f"{name} is not JSON")
