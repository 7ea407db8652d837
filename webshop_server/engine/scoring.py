"""The purchase score: how well what was bought fits the goal, in [0, 1]."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from webshop_server.engine.colours import ColourWords
from webshop_server.engine.fuzzy import token_set_ratio
from webshop_server.engine.goal import Goal
from webshop_server.engine.nouns import NounRule, nouns_by_rule
from webshop_server.engine.product import Product

Quirks = Literal["upstream", "fixed"]
QUIRKS: Final = ("upstream", "fixed")
_ALIKE: Final = 85


@dataclass(frozen=True, kw_only=True)
class Scorer:
    """Scores purchases.

    With ``quirks="upstream"`` the score is that of WebShop, bit by bit, flaws included: likeness of options is fuzzy ("pack of
    1" is "pack of 2", "large" is "x-large"), the name of an option does not count, a colour word counts inside other words, and
    the type of the very product that was asked for can be judged wrong by its name. ``"fixed"`` repairs these: an option must
    have the same words under the same name (where the goal has names), repeated nouns count once, an empty query or category is
    like no other, and a product of the same query and category is never of the wrong type.
    """

    colours: ColourWords = field(default_factory=ColourWords)
    nouns: NounRule = nouns_by_rule
    quirks: Quirks = "upstream"

    def score(self, product: Product, goal: Goal, chosen: Mapping[str, str]) -> tuple[float, dict[str, Any]]:
        """Score one purchase.

        Args:
            product: What was bought.
            goal: What was asked for.
            chosen: Name of an option -> the value that was chosen.

        Returns:
            The score in [0, 1], and its parts by name: the ``r_*`` are shares that were met, the ``w_*`` their weights.
        """
        parts = self._type_parts(product, goal)
        num_attributes, num_options = len(goal.attributes), len(goal.options)
        attributes = sum(_has_attribute(product, attribute) for attribute in goal.attributes)
        options = self._num_options_met(goal.options, chosen)
        is_cheap = goal.price_upper > 0 and product.price <= goal.price_upper
        total = num_attributes + num_options + 1
        parts |= {"r_att": attributes / num_attributes if num_attributes else 1.0, "w_att": num_attributes / total}
        if num_options:
            parts |= {"r_option": options / num_options, "w_option": num_options / total}
        if goal.price_upper > 0:
            parts |= {"r_price": is_cheap, "w_price": 1 / total}
        return parts["r_type"] * ((attributes + options + is_cheap) / total), parts

    def _type_parts(self, product: Product, goal: Goal) -> dict[str, Any]:
        wanted, have = list(self.nouns(goal.name)), set(self.nouns(product.name))
        if self.quirks == "fixed":
            wanted = sorted(set(wanted))
        title_score = len(have.intersection(wanted)) / len(wanted) if wanted else 0.2
        query_match = product.query == goal.query
        shared = _categories(product.product_category) & _categories(goal.product_category)
        if self.quirks == "fixed":
            query_match = query_match and bool(goal.query)
            shared.discard("")
        category_match = len(shared) >= 2
        is_certain = self.quirks == "fixed" and query_match and category_match
        return {
            "r_type": 1.0 if is_certain else _type_score(query_match or category_match, title_score),
            "query_match": query_match,
            "category_match": category_match,
            "title_score": title_score,
        }

    def _num_options_met(self, wanted: Sequence[str | tuple[str, str]], chosen: Mapping[str, str]) -> int:
        if self.quirks == "fixed":
            return sum(self._is_exactly_met(choice, chosen) for choice in wanted)
        values = [self.colours.reduce(value) for value in chosen.values()]
        return sum(any(_is_alike(value, self.colours.reduce(choice)) for value in values) for choice in wanted)

    def _is_exactly_met(self, wanted: str | tuple[str, str], chosen: Mapping[str, str]) -> bool:
        if isinstance(wanted, str):
            return any(_same_words(wanted, value) for value in chosen.values())
        return _same_words(wanted[1], chosen.get(wanted[0], ""))


def _type_score(is_found_alike: bool, title_score: float) -> float:
    if title_score == 0:
        return 0.0
    if title_score < 0.1:
        return 0.1
    return 1.0 if is_found_alike or title_score > 0.2 else 0.5


def _has_attribute(product: Product, attribute: str) -> bool:
    return (
        any(_is_alike(known, attribute) for known in product.attributes)
        or attribute in product.shown_title.lower()
        or attribute in " ".join(product.bullet_points).lower()
        or attribute in product.description.lower()
    )


def _is_alike(first: str, second: str) -> bool:
    return token_set_ratio(first, second) > _ALIKE


def _same_words(first: str, second: str) -> bool:
    return first.lower().split() == second.lower().split()


def _categories(path: str) -> set[str]:
    return {name.strip() for name in path.split("›")}
