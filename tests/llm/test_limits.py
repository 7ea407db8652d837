"""Gate: concurrency, requests and tokens a minute, pauses. Time is a number that only sleeping moves."""

import asyncio

import pytest

from mise_gym.errors import ConfigError
from mise_gym.llm.limits import Gate, Limits


class Time:
    def __init__(self):
        self.now = 0.0

    def clock(self):
        return self.now

    async def sleep(self, seconds):
        self.now += seconds


def admissions(limits, tokens, correct=None, pause=0.0):
    """Return when each of the requests with these tokens is let through, with a pause after each."""
    time, times = Time(), []

    async def pass_all():
        gate = Gate(Limits(**limits), time.clock, time.sleep)
        for count in tokens:
            async with gate.passage(count) as admission:
                times.append(time.now)
                admission.tokens = count if correct is None else correct
            time.now += pause

    asyncio.run(pass_all())
    return times


def test_without_limits_nothing_waits():
    assert admissions({}, [10**9] * 5) == [0.0] * 5


def test_requests_per_minute_hold_in_any_window_of_a_minute():
    assert admissions({"requests_per_minute": 2}, [1] * 5) == [0.0, 0.0, 60.0, 60.0, 120.0]


def test_the_minute_slides():
    assert admissions({"requests_per_minute": 2}, [1] * 5, pause=40.0) == [0.0, 40.0, 80.0, 120.0, 160.0]
    assert admissions({"requests_per_minute": 2}, [1] * 5, pause=20.0) == [0.0, 20.0, 60.0, 80.0, 120.0]


def test_tokens_per_minute_wait_until_enough_of_them_are_a_minute_old():
    assert admissions({"tokens_per_minute": 100}, [60, 30, 20, 70]) == [0.0, 0.0, 60.0, 60.0]


def test_the_true_number_of_tokens_counts_once_it_is_known():
    assert admissions({"tokens_per_minute": 100}, [90, 90, 90], correct=90) == [0.0, 60.0, 120.0]
    assert admissions({"tokens_per_minute": 100}, [90, 90, 90], correct=5) == [0.0, 0.0, 0.0]


def test_a_request_that_never_fits_passes_alone():
    assert admissions({"tokens_per_minute": 100}, [500, 500]) == [0.0, 60.0]


def test_a_pause_holds_back_everybody():
    time, times = Time(), []

    async def one(gate):
        async with gate.passage(1):
            times.append(time.now)

    async def run():
        gate = Gate(Limits(), time.clock, time.sleep)
        gate.close_for(5.0)
        gate.close_for(2.0)
        await asyncio.gather(one(gate), one(gate))

    asyncio.run(run())
    assert times == [5.0, 5.0]


def test_no_more_requests_run_at_the_same_time_than_allowed():
    running, most = 0, 0

    async def one(gate):
        nonlocal running, most
        async with gate.passage(1):
            running += 1
            most = max(most, running)
            await asyncio.sleep(0)
            running -= 1

    async def run():
        time = Time()
        gate = Gate(Limits(concurrency=3), time.clock, time.sleep)
        await asyncio.gather(*(one(gate) for _ in range(10)))

    asyncio.run(run())
    assert most == 3


def test_a_limit_of_nothing_is_refused():
    with pytest.raises(ConfigError, match="concurrency=0 is out of range"):
        Limits(concurrency=0)
