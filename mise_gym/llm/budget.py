"""Budget: what may be spent on requests; Purse: sees to it that no more is."""

import asyncio
from dataclasses import dataclass

from mise_gym.errors import ChatError, ConfigError
from mise_gym.llm.settings import check_at_least


@dataclass(slots=True, kw_only=True)
class Spending:
    """What requests have cost."""

    calls: int = 0
    """Requests that were sent, repeated ones included."""
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    """Money, in the currency of the prices."""
    seconds: float = 0.0
    """Time from sending a request to its answer, summed over requests."""

    @property
    def tokens(self) -> int:
        """Input and output tokens."""
        return self.input_tokens + self.output_tokens

    def add(self, other: "Spending") -> None:
        """Add another spending to this one."""
        self.calls += other.calls
        self.input_tokens += other.input_tokens
        self.output_tokens += other.output_tokens
        self.cost += other.cost
        self.seconds += other.seconds

    def take_back(self, other: "Spending") -> None:
        """Subtract another spending from this one."""
        self.calls -= other.calls
        self.input_tokens -= other.input_tokens
        self.output_tokens -= other.output_tokens
        self.cost -= other.cost
        self.seconds -= other.seconds


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The most that may be spent, counted from the construction of a judge; ``None`` is no limit."""

    calls: int | None = None
    """Requests, repeated ones included."""
    tokens: int | None = None
    """Input and output tokens together."""
    cost: float | None = None
    """Money, in the currency of the prices; needs at least one price."""
    input_price: float = 0.0
    """Price of a million input tokens."""
    output_price: float = 0.0
    """Price of a million output tokens."""

    def __post_init__(self) -> None:
        check_at_least(0, "budget", calls=self.calls, tokens=self.tokens, cost=self.cost)
        check_at_least(0, "budget", input_price=self.input_price, output_price=self.output_price)
        if self.cost is not None and self.input_price == self.output_price == 0:
            raise ConfigError(f"The budget has cost={self.cost!r} but no prices. Give input_price and output_price too.")

    @property
    def counts_tokens(self) -> bool:
        """Whether the length of a request and its reply matters."""
        return self.tokens is not None or self.cost is not None

    def call(self, input_tokens: int, output_tokens: int, seconds: float = 0.0) -> Spending:
        """Return what one request costs."""
        cost = (input_tokens * self.input_price + output_tokens * self.output_price) / 1e6
        return Spending(calls=1, input_tokens=input_tokens, output_tokens=output_tokens, cost=cost, seconds=seconds)


class Purse:
    """Spends a budget: no request is sent whose largest possible cost does not fit any more.

    Args:
        budget: The most that may be spent.
        spent: What has been spent; is counted up.
    """

    def __init__(self, budget: Budget, spent: Spending) -> None:
        self.budget = budget
        self.spent = spent
        self._reserved = Spending()
        self._settled = asyncio.Condition()

    async def reserve(self, most: Spending) -> None:
        """Set ``most`` aside, after waiting for running requests that may turn out cheaper.

        Raises:
            ChatError: It does not fit even when nothing else runs (kind "budget").
        """
        async with self._settled:
            while (exhausted := self._exhausted_by(most)) and self._reserved.calls:
                await self._settled.wait()
            if exhausted:
                limit, spent, needed = (getattr(part, exhausted) for part in (self.budget, self.spent, most))
                message = f"Of the budget of {limit:g} {exhausted}, {spent:g} are spent, and a request may need {needed:g}."
                raise ChatError(f"{message} Raise the budget to go on.", kind="budget")
            self._reserved.add(most)

    async def settle(self, most: Spending, actual: Spending) -> None:
        """Book what a request for which ``most`` was reserved has really cost."""
        async with self._settled:
            self._reserved.take_back(most)
            self.spent.add(actual)
            self._settled.notify_all()

    def _exhausted_by(self, more: Spending) -> str:
        for name in ("calls", "tokens", "cost"):
            limit = getattr(self.budget, name)
            if limit is not None and sum(getattr(part, name) for part in (self.spent, self._reserved, more)) > limit:
                return name
        return ""
