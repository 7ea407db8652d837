"""Purse: never a request that could exceed the budget, and none refused while running ones may turn out cheaper."""

import asyncio

import pytest

from mise_gym.errors import ChatError, ConfigError
from mise_gym.llm.budget import Budget, Purse, Spending


def test_a_call_is_paid_by_the_million():
    call = Budget(input_price=0.5, output_price=2.0).call(1_000_000, 500_000)
    assert (call.calls, call.tokens, call.cost) == (1, 1_500_000, 1.5)


def test_spending_adds_up():
    spent = Spending(calls=1, input_tokens=2, seconds=0.5)
    spent.add(Spending(calls=1, input_tokens=3, output_tokens=4, cost=0.25, seconds=1.0))
    assert spent == Spending(calls=2, input_tokens=5, output_tokens=4, cost=0.25, seconds=1.5)


@pytest.mark.parametrize(
    ("budget", "name"),
    [({"calls": 1}, "calls"), ({"tokens": 150}, "tokens"), ({"cost": 0.00015, "input_price": 1.0}, "cost")],
)
def test_what_does_not_fit_is_refused_and_what_fits_is_not(budget, name):
    async def run():
        purse = Purse(Budget(**budget), Spending())
        most = purse.budget.call(100, 0)
        await purse.reserve(most)
        await purse.settle(most, most)
        with pytest.raises(ChatError, match=f"Of the budget of .* {name}, .* are spent") as refused:
            await purse.reserve(most)
        return refused.value.kind

    assert asyncio.run(run()) == "budget"


def test_a_request_waits_for_one_that_may_turn_out_cheaper():
    async def run():
        purse = Purse(Budget(tokens=150), Spending())
        most = purse.budget.call(100, 0)
        await purse.reserve(most)
        second = asyncio.create_task(purse.reserve(most))
        await asyncio.sleep(0)
        assert not second.done()
        await purse.settle(most, purse.budget.call(10, 0))
        await second
        return purse.spent.tokens

    assert asyncio.run(run()) == 10


def test_a_budget_of_money_needs_prices():
    with pytest.raises(ConfigError, match=r"cost=1\.0 but no prices"):
        Budget(cost=1.0)
