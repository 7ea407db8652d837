"""Limits: how fast an endpoint may be asked; Gate: holds requests back until they keep them."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from mise_gym.llm.settings import check_at_least

MINUTE_SECONDS: Final = 60.0


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How fast an endpoint may be asked by one judge."""

    concurrency: int = 16
    """Requests that run at the same time; 1 asks one after another."""
    requests_per_minute: int | None = None
    """Requests within any minute; ``None`` is no limit."""
    tokens_per_minute: int | None = None
    """Input and output tokens within any minute, estimated until a reply tells; ``None`` is no limit."""

    def __post_init__(self) -> None:
        check_at_least(1, "limit", concurrency=self.concurrency)
        check_at_least(1, "limit", requests_per_minute=self.requests_per_minute, tokens_per_minute=self.tokens_per_minute)


@dataclass(slots=True)
class Admission:
    """One request that was let through."""

    time: float
    tokens: int
    """An estimate; whoever knows better writes the true number here."""


class Gate:
    """Lets requests through in order, and only as many as the limits allow.

    A minute is a window that slides: the limits hold within any sixty seconds. A request with more tokens than fit into a
    minute passes when nothing else was let through for a minute.

    Args:
        limits: What to keep.
        clock: Seconds that never go back.
        sleep: Waits for seconds.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float], sleep: Callable[[float], Awaitable[None]]) -> None:
        self._limits = limits
        self._clock = clock
        self._sleep = sleep
        self._slots = asyncio.Semaphore(limits.concurrency)
        self._queue = asyncio.Lock()
        self._admitted: deque[Admission] = deque()
        self._closed_until = float("-inf")

    @asynccontextmanager
    async def passage(self, tokens: int) -> AsyncIterator[Admission]:
        """Wait for a free slot and a free place in the last minute; the slot is free again at the end of the block.

        Args:
            tokens: Expected tokens of the request and its reply.
        """
        async with self._slots:
            async with self._queue:
                while (wait := self._wait_seconds(tokens)) > 0:
                    await self._sleep(wait)
                admission = Admission(self._clock(), tokens)
                if self._limits.requests_per_minute or self._limits.tokens_per_minute:
                    self._admitted.append(admission)
            yield admission

    def close_for(self, seconds: float) -> None:
        """Let nothing through for a while, because the endpoint asked for a pause."""
        self._closed_until = max(self._closed_until, self._clock() + seconds)

    def _wait_seconds(self, tokens: int) -> float:
        now = self._clock()
        while self._admitted and self._admitted[0].time <= now - MINUTE_SECONDS:
            self._admitted.popleft()
        return max(self._closed_until - now, self._until_there_is_room(tokens, now))

    def _until_there_is_room(self, tokens: int, now: float) -> float:
        """Return the seconds until enough of the earlier requests are a minute old."""
        most_requests = self._limits.requests_per_minute or float("inf")
        most_tokens = self._limits.tokens_per_minute or float("inf")
        requests, used = len(self._admitted), sum(admission.tokens for admission in self._admitted)
        wait = 0.0
        for admission in self._admitted:
            if requests < most_requests and used + tokens <= most_tokens:
                break
            requests, used = requests - 1, used - admission.tokens
            wait = admission.time + MINUTE_SECONDS - now
        return wait
