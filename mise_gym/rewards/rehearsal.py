"""RehearsalServer: an OpenAI-compatible server on this machine that invents scores and breaks down on purpose.

To see, before a real endpoint is paid, what a judge's settings do when things go wrong.
"""

import asyncio
import json
import logging
import math
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from email.utils import formatdate
from itertools import repeat
from types import TracebackType
from typing import Any, Final, Self

from mise_gym.errors import ConfigError
from mise_gym.llm.background import BackgroundLoop
from mise_gym.registry import unknown_name

logger = logging.getLogger(__name__)

Record = dict[str, Any]

STATUS_FAULTS: Final[Mapping[str, tuple[int, Mapping[str, str]]]] = {
    "rate limit": (429, {}),
    "rate limit with seconds": (429, {"retry-after": "0.05"}),
    "rate limit with date": (429, {"retry-after": formatdate(0, usegmt=True)}),
    "internal error": (500, {}),
    "overloaded": (503, {}),
    "unauthorised": (401, {}),
}
"""Faults that are an HTTP status with headers; the message quotes the key, as some servers do."""

WIRE_FAULTS: Final = ("hang", "half a body", "connection reset", "not JSON", "no choices")
"""Faults on the way."""

ANSWER_FAULTS: Final = (
    "too few turns",
    "too many turns",
    "wrong turn numbers",
    "out of range",
    "NaN",
    "eight of ten",
    "prose around JSON",
    "two objects",
    "cut off",
    "empty",
    "refusal",
    "content filter",
)
"""Faults of the model."""

FAULTS: Final = (*STATUS_FAULTS, *WIRE_FAULTS, *ANSWER_FAULTS)
"""Every fault by name."""

SOUND: Final = "sound"
"""The name, in a plan, of an answer without fault."""

_FINISH: Final = {"cut off": "length", "content filter": "content_filter"}
_BAD_SCORES: Final = {"out of range": 1.5, "NaN": math.nan, "eight of ten": "8/10"}
_TURNS: Final = re.compile(r"each of the turns (\d+) to (\d+)")


def random_plan(fault_rate: float, seed: int = 0, faults: Sequence[str] = FAULTS) -> Iterator[str]:
    """Yield, without end, what happens to one request after another.

    Args:
        fault_rate: Probability of a fault; all faults are equally likely.
        seed: Seed of the plan.
        faults: Which faults there are.
    """
    rng = random.Random(seed)
    while True:
        yield rng.choice(faults) if rng.random() < fault_rate else SOUND


class RehearsalServer:
    """Answers chat completions of the HTTP judges with random scores, or with a fault where the plan says so.

    The scores are a function of the request, so the same question gets the same answer.

    Args:
        plan: What happens to one request after another: ``SOUND`` or a name in ``FAULTS``; after its end, or with ``None``, all
            is sound.
        latency_seconds: How long every answer takes.
        hang_seconds: How long the fault "hang" takes.
        scorer: Returns one score per turn for the text of a question; ``None`` draws them.
        knows_schemas: Whether a request with ``response_format`` is accepted; if not, the answer is 422 and not in the plan.
        seed: Seed of the scores.

    Raises:
        ConfigError: A time is negative.

    Example:
        >>> with RehearsalServer() as server:
        ...     server.base_url.startswith("http://127.0.0.1:")
        True
    """

    def __init__(
        self,
        plan: Iterator[str] | None = None,
        *,
        latency_seconds: float = 0.0,
        hang_seconds: float = 3600.0,
        scorer: Callable[[str], Sequence[float]] | None = None,
        knows_schemas: bool = True,
        seed: int = 0,
    ) -> None:
        if latency_seconds < 0 or hang_seconds < 0:
            raise ConfigError(f"Got latency_seconds={latency_seconds!r} and hang_seconds={hang_seconds!r}. Give at least 0.")
        self._plan = plan or repeat(SOUND)
        self._latency_seconds = latency_seconds
        self._hang_seconds = hang_seconds
        self._scorer = scorer
        self._knows_schemas = knows_schemas
        self._seed = seed
        self._open_requests = 0
        self._loop = BackgroundLoop()
        self.requests: list[Record] = []
        """The body of every request."""
        self.headers: list[dict[str, str]] = []
        """Its headers, by lower-case name."""
        self.happened: Counter[str] = Counter()
        """How often each part of the plan came."""
        self.most_at_once = 0
        """The largest number of requests that were open at the same time."""
        self.sound_scores: dict[tuple[float, ...], str] = {}
        """The scores of every answer without fault, and the question that they answer."""
        self._server = self._loop.run(asyncio.start_server(self._serve, "127.0.0.1", 0))

    @property
    def base_url(self) -> str:
        """What to give a judge as ``base_url``."""
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"

    def close(self) -> None:
        """Stop serving; calling it again does nothing."""
        if self._loop.is_alive:
            self._loop.run(self._stop())
            self._loop.close()

    def __enter__(self) -> Self:
        """Return the server."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Stop serving."""
        self.close()

    async def _stop(self) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        try:
            while (received := await _read_request(reader)) is not None:
                self._open_requests += 1
                self.most_at_once = max(self.most_at_once, self._open_requests)
                try:
                    is_usable = await self._answer(writer, *received)
                finally:
                    self._open_requests -= 1
                if not is_usable:
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            logger.debug("A connection ended early.")
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(self, writer: asyncio.StreamWriter, headers: dict[str, str], body: Record) -> bool:
        """Answer one request, and return whether the connection can be used again."""
        self.headers.append(headers)
        self.requests.append(body)
        if "response_format" in body and not self._knows_schemas:
            return await _write(writer, 422, {}, b'{"detail": "Unexpected fields in the request: response_format"}')
        fault = next(self._plan, SOUND)
        self.happened[fault] += 1
        await asyncio.sleep(self._hang_seconds if fault == "hang" else self._latency_seconds)
        if fault == "connection reset":
            writer.transport.abort()
            return False
        status, more = STATUS_FAULTS.get(fault, (200, {}))
        return await _write(writer, status, more, self._content(fault, headers, body), is_half=fault == "half a body")

    def _content(self, fault: str, headers: Mapping[str, str], body: Record) -> bytes:
        if fault not in (SOUND, *FAULTS):
            raise unknown_name("fault", fault, [SOUND, *FAULTS])
        if fault in STATUS_FAULTS:
            return json.dumps({"error": {"message": f"as planned, to {headers.get('authorization')}"}}).encode()
        if fault == "not JSON":
            return b"<html>Bad gateway</html>"
        return json.dumps({} if fault == "no choices" else self._completion(fault, body)).encode()

    def _completion(self, fault: str, body: Record) -> Record:
        asked = next(filter(None, (_TURNS.search(message["content"]) for message in reversed(body["messages"]))))
        turns = list(range(int(asked[1]), int(asked[2]) + 1))
        with_digits = bool(body.get("logprobs"))
        question = "\n".join(message["content"] for message in body["messages"])
        scores = self._scores(question, len(turns), with_digits)
        text = _faulty(fault, turns, scores, with_reasons='"reason"' in asked.string)
        message: Record = {"role": "assistant", "content": text}
        if fault == "refusal":
            message |= {"content": None, "refusal": "I cannot help with that."}
        choice: Record = {"index": 0, "message": message, "finish_reason": _FINISH.get(fault, "stop")}
        if with_digits:
            choice["logprobs"] = {"content": [self._token(character) for character in text]}
        if fault == SOUND:
            self.sound_scores[tuple(score / 9 if with_digits else score for score in scores)] = question
        usage = {"prompt_tokens": sum(len(message["content"]) for message in body["messages"]) // 4}
        return {"choices": [choice], "usage": usage | {"completion_tokens": len(text) // 3}}

    def _scores(self, question: str, num_turns: int, with_digits: bool) -> list[Any]:
        if self._scorer is not None:
            return list(self._scorer(question))
        rng = random.Random(f"{self._seed} {question}")
        return [rng.randrange(10) if with_digits else round(rng.random(), 9) for _ in range(num_turns)]

    @staticmethod
    def _token(character: str) -> Record:
        """Return a token of one character of which the model is certain."""
        return {"token": character, "logprob": 0.0, "top_logprobs": [{"token": character, "logprob": 0.0}]}


def _faulty(fault: str, turns: list[int], scores: list[Any], with_reasons: bool) -> str:
    """Return an answer with these scores, or one that has the fault."""
    if fault == "empty":
        return ""
    turns, scores = list(turns), list(scores)
    if fault == "too few turns":
        turns.pop()
    elif fault == "too many turns":
        turns, scores = [*turns, turns[-1] + 1], [*scores, 0.5]
    elif fault == "wrong turn numbers":
        turns = [turn + 1 for turn in turns]
    elif fault in _BAD_SCORES:
        scores[-1] = _BAD_SCORES[fault]
    reason = {"reason": "rehearsed"} if with_reasons else {}
    entries = [{"turn": turn, **reason, "score": score} for turn, score in zip(turns, scores, strict=False)]
    text = json.dumps({"turns": entries})
    wrapped = {
        "prose around JSON": f"Sure! {text} I hope this helps.<|im_end|>",
        "two objects": f"{text}\n{text}",
        "cut off": text[:-9],
    }
    return wrapped.get(fault, text)


async def _read_request(reader: asyncio.StreamReader) -> tuple[dict[str, str], Record] | None:
    """Return headers and body of the next request, or ``None`` when the client has gone."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    lines = head.split("\r\n")[1:-2]
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return headers, json.loads(body)


async def _write(
    writer: asyncio.StreamWriter, status: int, headers: Mapping[str, str], body: bytes, is_half: bool = False
) -> bool:
    """Write an answer, perhaps only half of the body that it announces; return whether the connection is still good."""
    fields = {"content-type": "application/json", "content-length": str(len(body)), **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    writer.write(f"HTTP/1.1 {status} As Planned\r\n{head}\r\n".encode() + body[: len(body) // 2 if is_half else len(body)])
    await writer.drain()
    return not is_half
