"""Listing: a product together with the instructions that were written for it, and the goals that follow from them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

from webshop_server.engine.goal import NO_LIMIT, Goal
from webshop_server.engine.product import Product, fraction

_LIMITS: Final = tuple(float(limit) for limit in range(10, 1000, 10))


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """What a shopper says, and what of it counts."""

    text: str
    attributes: Sequence[str]
    options: Sequence[str] = ()
    """Option values that are asked for; empty in instructions that are completed by every combination of options."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A product and its instructions."""

    product: Product
    human: Sequence[Instruction] = ()
    """By people: each is a goal."""
    synthetic: Instruction | None = None
    """A beginning that becomes a goal with each combination of the product's options."""


def human_goals(listing: Listing) -> Iterator[Goal]:
    """Yield the goals of instructions by people; one without attributes is none."""
    for number, instruction in enumerate(listing.human):
        if instruction.attributes:
            limit = _price_limit(listing.product, f"human {number}")
            text = instruction.text.strip(".") + _limit_text(limit)
            yield _goal(listing.product, instruction, text, limit, list(instruction.options), 1.0)


def num_combinations(of: Product) -> int:
    """Return in how many ways the options of a product can be chosen."""
    count = 1
    for values in of.options.values():
        count *= len(values)
    return count


def synthetic_goal(of: Product, instruction: Instruction, number: int, weight: float) -> Goal:
    """Return the goal for one combination of options.

    Args:
        of: The product.
        instruction: How the text begins.
        number: Which combination, in [0, ``num_combinations``): the last option, in the order of names, changes fastest.
        weight: How often the goal is drawn.
    """
    options = _combination(of.options, number)
    limit = _price_limit(of, "synthetic")
    choices = ", and ".join(f"{name}: {value}" for name, value in options.items())
    text = instruction.text + (f" with {choices}" if choices else "") + _limit_text(limit)
    return _goal(of, instruction, text, limit, options, weight)


def _combination(options: Mapping[str, Sequence[str]], number: int) -> dict[str, str]:
    chosen = {}
    for name in sorted(options, reverse=True):
        number, place = divmod(number, len(options[name]))
        chosen[name] = options[name][place]
    return dict(reversed(chosen.items()))


def _price_limit(of: Product, use: str) -> float:
    """Return the larger of two of the next four round limits above the price; which two depends on the product and use only."""
    above = [limit for limit in _LIMITS if limit > of.price][:4]
    if len(above) < 2:
        return NO_LIMIT
    pairs = list(combinations(above, 2))
    return max(pairs[int(fraction("limit", of.asin, use) * len(pairs))])


def _limit_text(limit: float) -> str:
    return "" if limit == NO_LIMIT else f", and price lower than {limit:.2f} dollars"


def _goal(
    of: Product, instruction: Instruction, text: str, limit: float, options: Sequence[str] | Mapping[str, str], weight: float
) -> Goal:
    return Goal(
        asin=of.asin,
        category=of.category,
        query=of.query,
        name=of.name,
        product_category=of.product_category,
        instruction_text=text,
        attributes=list(instruction.attributes),
        price_upper=limit,
        goal_options=options,
        weight=weight,
    )
