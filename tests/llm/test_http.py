"""HttpChatClient: when it waits and how long, told by an injected sleep; the server is real."""

import asyncio
import random

import pytest

from mise_gym.errors import ChatError
from mise_gym.llm.budget import Budget, Purse, Spending
from mise_gym.llm.chat import ChatRequest, read_reply, read_usage
from mise_gym.llm.endpoint import Endpoint
from mise_gym.llm.http import HttpChatClient
from mise_gym.llm.limits import Limits
from mise_gym.llm.retry import Retry
from mise_gym.rewards.rehearsal import SOUND, RehearsalServer

QUESTION = ChatRequest(
    messages=({"role": "user", "content": "each of the turns 1 to 2"},), parameters={"max_tokens": 50}, schema={"type": "object"}
)


def ask(*plan, budget=None, account=None, **retry):
    """Ask once; return the reply or the error, and how long the client slept each time."""
    slept = []

    async def sleep(seconds):
        slept.append(seconds)

    async def run(server):
        parts = {"limits": Limits(), "purse": Purse(budget or Budget(), Spending()), "rng": random.Random(0), "sleep": sleep}
        async with HttpChatClient(Endpoint("m", server.base_url), retry=Retry(**retry), **parts) as client:
            try:
                return await client.ask(QUESTION, account or Spending())
            except ChatError as error:
                return error

    with RehearsalServer(iter(plan)) as server:
        return asyncio.run(run(server)), slept


def test_the_waits_double_at_most():
    _, slept = ask(*["overloaded"] * 4, SOUND, retries=4, first_wait_seconds=1.0)
    assert len(slept) == 4
    assert all(0 < wait <= bound for wait, bound in zip(slept, [1, 2, 4, 8], strict=True))


def test_a_server_that_names_a_time_is_obeyed():
    _, slept = ask("rate limit with seconds", SOUND, first_wait_seconds=0.01)
    assert 0.05 <= max(slept) <= 0.06


def test_while_a_server_asks_for_a_pause_nobody_else_asks():
    async def run(server):
        paused = []

        async def sleep(seconds):
            paused.append(seconds)
            await asyncio.sleep(seconds)

        parts = {"limits": Limits(concurrency=1), "purse": Purse(Budget(), Spending()), "sleep": sleep}
        async with HttpChatClient(Endpoint("m", server.base_url), retry=Retry(first_wait_seconds=0.0), **parts) as client:
            await asyncio.gather(*(client.ask(QUESTION, Spending()) for _ in range(3)))
        return paused

    with RehearsalServer(iter(["rate limit with seconds", SOUND, SOUND, SOUND])) as server:
        paused = asyncio.run(run(server))
    assert len([wait for wait in paused if wait > 0.03]) == 2  # the one that was refused, and the next in the queue


@pytest.mark.parametrize("fault", ["unauthorised", "refusal"])
def test_what_will_not_pass_is_not_repeated(fault):
    error, slept = ask(fault)
    assert isinstance(error, ChatError)
    assert slept == []


def test_a_wrong_key_says_what_to_do():
    assert "Set OPENAI_API_KEY, or give api_key." in str(ask("unauthorised")[0])


def test_every_attempt_is_booked():
    account = Spending()
    ask("internal error", "connection reset", SOUND, account=account)
    assert account.calls == 3
    assert account.tokens > QUESTION.most_input_tokens + 50  # the reset at its most, the sound one as told
    assert account.seconds > 0


def test_an_exhausted_budget_sends_nothing():
    account = Spending()
    error, _ = ask(budget=Budget(calls=0), account=account)
    assert (error.kind, account.calls) == ("budget", 0)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[]",
        "{}",
        '{"choices": []}',
        '{"choices": [{"message": null}]}',
        '{"choices": [{"message": {"content": 7}}]}',
        '{"choices": [{"message": {"content": "x"}, "logprobs": {"content": [{"token": "x", "logprob": NaN}]}}]}',
        '{"choices": [{"message": {"content": "x"}, "logprobs": {"content": [{"token": "x", "logprob": 0.7}]}}]}',
        "\ufffd",
    ],
)
def test_what_is_no_chat_completion_is_a_passing_error(body):
    with pytest.raises(ChatError, match="not a chat completion") as error:
        read_reply(body)
    assert error.value.is_passing


@pytest.mark.parametrize("body", ["", "{}", '{"usage": null}', '{"usage": {"prompt_tokens": "7", "completion_tokens": -1}}'])
def test_a_server_that_does_not_count_is_no_error(body):
    assert read_usage(body) is None
