"""HttpChatClient: asks an OpenAI-compatible endpoint, again where that may help, within limits and a budget."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Final, Protocol, Self, TypeVar

from mise_gym.errors import ChatError, ChatErrorKind
from mise_gym.extras import require
from mise_gym.llm.budget import Purse, Spending
from mise_gym.llm.chat import read_usage
from mise_gym.llm.endpoint import Endpoint
from mise_gym.llm.limits import Gate, Limits
from mise_gym.llm.retry import Retry, retry_after_seconds

logger = logging.getLogger(__name__)

Reply = TypeVar("Reply", covariant=True)

_MAY_DISLIKE_THE_SCHEMA: Final = {400, 415, 422, 501}
_PASSING: Final = {408, 409, 425, 429}
_KINDS: Final[Mapping[int, ChatErrorKind]] = {
    408: "timeout",
    429: "rate_limited",
    504: "timeout",
}
_ADVICE: Final = {
    400: " A parameter that it does not know can be left out: parameters={'temperature': None}.",
    401: " Set OPENAI_API_KEY, or give api_key.",
    403: " The key may not use this model.",
    404: " Check base_url (it usually ends in /v1) and model.",
}


class Request(Protocol[Reply]):
    """What is sent to an endpoint, and how its answer is read."""

    @property
    def path(self) -> str:
        """Where it is sent, behind the endpoint's base URL."""
        ...

    @property
    def schema(self) -> Mapping[str, Any] | None:
        """JSON schema of the reply; a server that knows none is asked again without."""
        ...

    @property
    def most_input_tokens(self) -> int:
        """A bound on the tokens that it has."""
        ...

    @property
    def expected_input_tokens(self) -> int:
        """An estimate of the tokens that it has."""
        ...

    @property
    def most_output_tokens(self) -> int:
        """A bound on the tokens of the answer; 0 where there is none."""
        ...

    def body(self, model: str, with_schema: bool) -> dict[str, Any]:
        """Return what is sent."""
        ...

    def read(self, body: str) -> Reply:
        """Return what was answered.

        Raises:
            ChatError: The answer makes no sense or is a refusal.
        """
        ...


class HttpChatClient:
    """Sends requests to a language model; one client per event loop.

    Args:
        endpoint: Who is asked.
        retry: When a failed request is repeated.
        limits: How fast requests may follow one another.
        purse: Pays for them.
        rng: Source of the jitter.
        clock: Seconds that never go back.
        sleep: Waits for seconds.

    Raises:
        MissingExtraError: httpx is not installed.
    """

    def __init__(  # noqa: PLR0913  # time and chance are injected
        self,
        endpoint: Endpoint,
        *,
        retry: Retry,
        limits: Limits,
        purse: Purse,
        rng: random.Random | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._httpx = require("httpx")
        self._endpoint = endpoint
        self._retry = retry
        self._purse = purse
        self._gate = Gate(limits, clock, sleep)
        self._rng = rng or random.Random()
        self._clock = clock
        self._sleep = sleep
        self._knows_schemas = True
        pool = self._httpx.Limits(max_connections=None, max_keepalive_connections=limits.concurrency)
        self._connections = self._httpx.AsyncClient(timeout=None, limits=pool, headers=endpoint.headers())

    async def ask(self, request: Request[Reply], account: Spending) -> Reply:
        """Return the reply to a request, which is sent again after passing failures.

        Args:
            request: What to ask.
            account: What the request costs is added here, whether or not it succeeds.

        Raises:
            ChatError: There is no reply; ``kind`` says why.
        """
        for repetition in range(self._retry.retries + 1):
            try:
                return await self._ask_once(request, account)
            except ChatError as error:
                wait = error.retry_after_seconds
                is_hopeless = wait is not None and wait > self._retry.longest_wait_seconds
                if not error.is_passing or is_hopeless or repetition == self._retry.retries:
                    raise
                logger.debug("Repeating a request: %s", error)
            if wait is None:
                await self._sleep(self._retry.wait_seconds(repetition, self._rng))
            else:
                self._gate.close_for(wait)
                await self._sleep(wait + self._retry.wait_seconds(0, self._rng))
        raise AssertionError("the last repetition returns or raises")

    async def __aenter__(self) -> Self:
        """Return the client."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self._connections.aclose()

    async def _ask_once(self, request: Request[Reply], account: Spending) -> Reply:
        """Send a request, and once more without the schema if the server may not know schemas."""
        with_schema = self._knows_schemas and request.schema is not None
        answer = await self._paid_post(request, with_schema, account)
        if with_schema and answer.status in _MAY_DISLIKE_THE_SCHEMA:
            answer = await self._paid_post(request, False, account)
            if answer.status == 200 and self._knows_schemas:
                self._knows_schemas = False
                logger.info("The server refuses JSON schemas; from now on replies are checked only here.")
        if answer.status != 200:
            raise self._failure(answer)
        return request.read(answer.body)

    async def _paid_post(self, request: Request[Any], with_schema: bool, account: Spending) -> "_Answer":
        """Post a request when limits and budget allow, and book what it costs.

        Without a count from the server, because it broke off or does not count, the most that it can have cost is booked. An
        error status costs no tokens.
        """
        most = self._purse.budget.call(request.most_input_tokens, request.most_output_tokens)
        async with self._gate.passage(request.expected_input_tokens + request.most_output_tokens) as admission:
            await self._purse.reserve(most)
            answer, started = None, self._clock()
            try:
                answer = await self._post(request.path, request.body(self._endpoint.model, with_schema))
                return answer
            finally:
                actual = replace(self._cost(answer) or most, seconds=self._clock() - started)
                if answer is not None:
                    admission.tokens = actual.tokens
                account.add(actual)
                await self._purse.settle(most, actual)

    async def _post(self, path: str, body: dict[str, Any]) -> "_Answer":
        seconds = self._retry.timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                response = await self._connections.post(self._endpoint.url(path), json=body)
        except TimeoutError as error:
            raise ChatError(f"There was no answer within {seconds:g} seconds.", kind="timeout", is_passing=True) from error
        except (self._httpx.HTTPError, self._httpx.InvalidURL) as error:
            reason = self._endpoint.hide_key(f"{type(error).__name__}: {error}")
            raise ChatError(f"No answer from {self._endpoint.base_url} ({reason}).", is_passing=True) from error
        return _Answer(response.status_code, response.headers, self._endpoint.hide_key(response.text))

    def _cost(self, answer: "_Answer | None") -> Spending | None:
        """Return what an answered request cost, or ``None`` where nobody can tell."""
        if answer is None:
            return None
        counts = read_usage(answer.body) if answer.status == 200 else (0, 0)
        return None if counts is None else self._purse.budget.call(*counts)

    def _failure(self, answer: "_Answer") -> ChatError:
        """Return the error that an HTTP status stands for."""
        status = answer.status
        message = f"{self._endpoint.base_url} answered {status} to model {self._endpoint.model!r}: {answer.body!r:.300}."
        return ChatError(
            message + _ADVICE.get(status, ""),
            kind=_KINDS.get(status, "error"),
            is_passing=status in _PASSING or status >= 500,
            retry_after_seconds=retry_after_seconds(answer.headers, time.time()),
        )


@dataclass(frozen=True, slots=True)
class _Answer:
    """What came over the wire, without the key if the server quoted it."""

    status: int
    headers: Mapping[str, str]
    body: str
