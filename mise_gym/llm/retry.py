"""Retry: how long to wait for an endpoint, and when to ask again."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from mise_gym.llm.settings import check_at_least


@dataclass(frozen=True, kw_only=True)
class Retry:
    """When a request that failed for a passing reason is sent again.

    The wait is exponential with full jitter: uniform between 0 and ``first_wait_seconds * 2**n`` before repetition n (from 0).
    An endpoint that names a time in ``Retry-After`` is obeyed instead.

    References:
        M. Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015 (full jitter).
    """

    retries: int = 5
    """How often a request is repeated; 0 sends it once."""
    timeout_seconds: float = 120.0
    """From sending a request to the last byte of its answer."""
    first_wait_seconds: float = 0.5
    """The longest wait before the first repetition; it doubles each time."""
    longest_wait_seconds: float = 60.0
    """The longest wait at all. An endpoint that asks for more is given up at once, as rate-limited."""

    def __post_init__(self) -> None:
        check_at_least(0, "retry setting", retries=self.retries, first_wait_seconds=self.first_wait_seconds)
        check_at_least(0, "retry setting", longest_wait_seconds=self.longest_wait_seconds)
        check_at_least(0.001, "retry setting", timeout_seconds=self.timeout_seconds)

    def wait_seconds(self, repetition: int, rng: random.Random) -> float:
        """Return how long to wait before a repetition, counted from 0, when the endpoint did not say."""
        return rng.uniform(0.0, min(self.longest_wait_seconds, self.first_wait_seconds * 2.0**repetition))


def retry_after_seconds(headers: Mapping[str, str], now: float) -> float | None:
    """Read ``Retry-After``, which holds seconds or a date.

    Args:
        headers: Headers of the answer, by lower-case name. A date is compared with the ``date`` header where there is one, so
            that a clock that is wrong here does no harm.
        now: Seconds since 1970, for answers without a date.

    Returns:
        Seconds to wait, at least 0; ``None`` without the header or when it cannot be understood.

    Example:
        >>> retry_after_seconds({"retry-after": "2"}, now=0.0)
        2.0
        >>> headers = {"date": "Sat, 21 Nov 2026 10:00:00 GMT", "retry-after": "Sat, 21 Nov 2026 10:00:07 GMT"}
        >>> retry_after_seconds(headers, now=0.0)
        7.0
    """
    value = headers.get("retry-after", "").strip()
    if value.replace(".", "", 1).isascii() and value.replace(".", "", 1).isdigit():
        return float(value)
    until = _timestamp(value)
    if until is None:
        return None
    sent = _timestamp(headers.get("date", ""))
    return max(0.0, until - (now if sent is None else sent))


def _timestamp(date: str) -> float | None:
    """Return a date of HTTP as seconds since 1970."""
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return None
