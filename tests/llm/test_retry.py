"""Retry: full jitter within its bounds, and Retry-After in both of its forms."""

import random

import pytest

from mise_gym.errors import ConfigError
from mise_gym.llm.retry import Retry, retry_after_seconds


def test_the_wait_is_spread_from_nothing_to_a_bound_that_doubles():
    retry, rng = Retry(first_wait_seconds=0.5), random.Random(0)
    for repetition, bound in enumerate([0.5, 1.0, 2.0, 4.0]):
        waits = [retry.wait_seconds(repetition, rng) for _ in range(2000)]
        assert min(waits) < 0.01 * bound
        assert 0.99 * bound < max(waits) <= bound


def test_the_bound_stops_doubling():
    waits = [Retry(longest_wait_seconds=3.0).wait_seconds(500, random.Random(seed)) for seed in range(100)]
    assert 2.5 < max(waits) <= 3.0


@pytest.mark.parametrize(("value", "seconds"), [("0", 0.0), ("7", 7.0), (" 1.5 ", 1.5)])
def test_retry_after_in_seconds(value, seconds):
    assert retry_after_seconds({"retry-after": value}, now=0.0) == seconds


def test_retry_after_as_a_date_is_compared_with_the_date_of_the_answer():
    headers = {"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}
    assert retry_after_seconds(headers, now=0.0) == 30.0


def test_without_a_date_of_the_answer_the_own_clock_is_used():
    assert retry_after_seconds({"retry-after": "Thu, 01 Jan 1970 00:01:00 GMT"}, now=20.0) == 40.0


def test_a_date_in_the_past_means_now():
    assert retry_after_seconds({"retry-after": "Thu, 01 Jan 1970 00:01:00 GMT"}, now=1e9) == 0.0


@pytest.mark.parametrize(
    "headers", [{}, {"retry-after": ""}, {"retry-after": "soon"}, {"retry-after": "-3"}, {"retry-after": "²"}]
)
def test_what_cannot_be_understood_is_left_to_the_jitter(headers):
    assert retry_after_seconds(headers, now=0.0) is None


@pytest.mark.parametrize("options", [{"retries": -1}, {"timeout_seconds": 0}, {"longest_wait_seconds": float("nan")}])
def test_settings_out_of_range_are_refused(options):
    with pytest.raises(ConfigError, match=f"{next(iter(options))}=.* is out of range"):
        Retry(**options)
