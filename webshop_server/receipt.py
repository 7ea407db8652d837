"""Receipt: why a purchase has the score that it has, line by line."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from webshop_server.engine.goal import NO_LIMIT, Goal
from webshop_server.engine.product import Product
from webshop_server.engine.scoring import Scorer


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One thing that was asked for."""

    part: str
    """"Type", "Attribute", "Option" or "Price"."""
    asked: str
    bought: str
    share: float
    """How well it was met, in [0, 1]; only the type can be met in part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """A purchase score and how it comes about: the type times the mean of the other lines."""

    score: float
    type_line: Line
    lines: Sequence[Line]

    @property
    def num_met(self) -> int:
        """How many of ``lines`` are met."""
        return sum(line.share == 1 for line in self.lines)


def write_receipt(scorer: Scorer, product: Product, goal: Goal, chosen: Mapping[str, str]) -> Receipt:
    """Explain a purchase score.

    Args:
        scorer: What scores purchases.
        product: What was bought.
        goal: What was asked for.
        chosen: Name of an option -> the value that was chosen.
    """
    score, parts = scorer.score(product, goal, chosen)
    is_limited = goal.price_upper != NO_LIMIT
    price = Line(
        part="Price",
        asked=f"at most ${goal.price_upper:.2f}" if is_limited else "any price",
        bought=f"${product.price:.2f}",
        share=float(parts.get("r_price", False)),
    )
    lines = [*_attributes(scorer, product, goal), *_options(scorer, product, goal, chosen), price]
    return Receipt(score=score, type_line=_type_line(product, goal, parts), lines=lines)


def _type_line(product: Product, goal: Goal, parts: Mapping[str, Any]) -> Line:
    return Line(part="Type", asked=_kind_of(goal), bought=_kind_of(product), share=float(parts["r_type"]))


def _kind_of(thing: Goal | Product) -> str:
    return thing.query or thing.product_category or thing.name


def _attributes(scorer: Scorer, product: Product, goal: Goal) -> Iterator[Line]:
    """Yield a line for each attribute: the score of the goal that asks for nothing else says whether it is met."""
    for attribute in goal.attributes:
        _, parts = scorer.score(product, replace(goal, attributes=[attribute], goal_options=[]), {})
        has_it = parts["r_att"] == 1
        yield Line(part="Attribute", asked=attribute, bought="has it" if has_it else "not found", share=float(has_it))


def _options(scorer: Scorer, product: Product, goal: Goal, chosen: Mapping[str, str]) -> Iterator[Line]:
    """Yield a line for each option, in the same way."""
    bought = ", ".join(f"{name}: {value}" for name, value in chosen.items()) or "nothing chosen"
    for wanted in goal.options:
        only = [wanted] if isinstance(wanted, str) else dict([wanted])
        _, parts = scorer.score(product, replace(goal, attributes=[], goal_options=only), chosen)
        asked = wanted if isinstance(wanted, str) else ": ".join(wanted)
        yield Line(part="Option", asked=asked, bought=bought, share=float(parts["r_option"] == 1))
