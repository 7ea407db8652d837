"""The purchase score, by numbers worked out by hand."""

from collections.abc import Sequence
from typing import Any

import pytest

from tests.webshop_server.small_shop import goal
from webshop_server.engine.colours import ColourWords
from webshop_server.engine.fuzzy import token_set_ratio
from webshop_server.engine.goal import Goal, goal_from_record
from webshop_server.engine.nouns import nouns_by_rule
from webshop_server.engine.product import Product
from webshop_server.engine.scoring import Scorer
from webshop_server.errors import GoalError


def shoes(**changes: Any) -> Product:
    values: dict[str, Any] = {
        "asin": "B000000001",
        "name": "Alderway Trail Shoes",
        "price": 45.5,
        "attributes": ["quick drying"],
        "query": "trail shoes",
        "product_category": "Shoes › Men › Trail",
    }
    return Product(**{**values, **changes})


def score(product: Product, wanted: Goal, chosen: dict[str, str], **rules: Any) -> float:
    return Scorer(**rules).score(product, wanted, chosen)[0]


@pytest.mark.parametrize(
    ("first", "second", "ratio"),
    [
        ("large", "x-large", 100),
        ("pack of 1", "pack of 2", 89),
        ("easy clean", "easy to clean", 100),
        ("abcdefghij", "abcdefghiz", 90),
        ("light weight", "lightweight", 96),
        ("café", "caf", 100),
        ("снег", "снег", 100),
        ("İstanbul", "istanbul", 100),
        ("ΣΑΣ", "σας", 67),
        ("red", "blue", 29),
        ("", "red", 0),
        ("?!", "?!", 0),
    ],
)
def test_likeness_is_that_of_thefuzz(first: str, second: str, ratio: int) -> None:
    assert token_set_ratio(first, second) == token_set_ratio(second, first) == ratio


def test_a_perfect_purchase_scores_one() -> None:
    total, parts = Scorer().score(shoes(), goal(), {"color": "red"})

    assert total == 1.0
    assert parts == {
        "r_type": 1.0, "query_match": True, "category_match": True, "title_score": 1.0, "r_att": 1.0, "w_att": 1 / 3,
        "r_option": 1.0, "w_option": 1 / 3, "r_price": True, "w_price": 1 / 3,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("product", "chosen", "expected"),
    [
        ({"price": 50.01}, {"color": "red"}, 2 / 3),
        ({"attributes": []}, {"color": "red"}, 2 / 3),
        ({}, {"color": "blue"}, 2 / 3),
        ({}, {}, 2 / 3),
        ({"query": "tea", "product_category": "Shoes"}, {"color": "red"}, 1.0),
        ({"query": "tea", "product_category": "", "name": "Shoes"}, {"color": "red"}, 1.0),
        ({"name": "Teapot"}, {"color": "red"}, 0.0),
    ],
    ids=[
        "too dear",
        "attribute missing",
        "another colour",
        "no colour",
        "only the name fits",
        "a noun in three fits",
        "no noun fits",
    ],
)
def test_each_part_counts_for_itself(product: dict[str, Any], chosen: dict[str, str], expected: float) -> None:
    assert score(shoes(**product), goal(), chosen) == pytest.approx(expected)


def test_a_name_that_fits_a_little_is_half_or_less_of_the_right_type() -> None:
    names = {"goal": ["a", "b", "c", "d", "e"], "half": ["a"], "tenth": ["x"]}
    wanted = goal(name="goal", query="other", product_category="other")
    rule: Any = {**names, "long": [*"abcdefghijkl"]}.__getitem__

    assert score(shoes(name="half"), wanted, {"color": "red"}, nouns=rule) == 0.5
    long = goal(name="long", query="other", product_category="other")
    assert score(shoes(name="half"), long, {"color": "red"}, nouns=rule) == pytest.approx(0.1)


@pytest.mark.parametrize("place", ["name", "description", "bullet_points"])
def test_an_attribute_counts_when_it_stands_in_the_text(place: str) -> None:
    text: Any = "Alderway Trail Shoes, QUICK DRYING"
    product = shoes(attributes=[], **{place: [text] if place == "bullet_points" else text})

    assert score(product, goal(), {"color": "red"}) == 1.0


@pytest.mark.parametrize(
    ("wanted", "chosen", "upstream", "fixed"),
    [
        (["pack of 1"], {"count": "pack of 2"}, 1.0, 2 / 3),
        (["large"], {"size": "x-large"}, 1.0, 2 / 3),
        (["navy blue"], {"color": "blue"}, 1.0, 2 / 3),
        (["shredded"], {"style": "red"}, 1.0, 2 / 3),
        ({"color": "red"}, {"trim": "red"}, 1.0, 2 / 3),
        ({"color": "red"}, {"color": "red"}, 1.0, 1.0),
        (["x-large"], {"size": "x-large"}, 1.0, 1.0),
    ],
)
def test_quirks_decide_how_strictly_options_are_compared(
    wanted: Sequence[str] | dict[str, str], chosen: dict[str, str], upstream: float, fixed: float
) -> None:
    scores = [score(shoes(), goal(goal_options=wanted), chosen, quirks=quirks) for quirks in ("upstream", "fixed")]

    assert scores == pytest.approx([upstream, fixed])


def test_a_product_of_the_right_query_and_category_is_of_the_right_type_when_quirks_are_fixed() -> None:
    scores = [score(shoes(name="Zzz"), goal(), {"color": "red"}, quirks=quirks) for quirks in ("upstream", "fixed")]

    assert scores == [0.0, 1.0]


def test_what_is_unknown_of_both_is_no_likeness_when_quirks_are_fixed() -> None:
    wanted = goal(query="", product_category="Shoes › ", name="Zzz")
    product = shoes(query="", product_category="Shoes › ")
    parts = [Scorer(quirks=quirks).score(product, wanted, {})[1] for quirks in ("upstream", "fixed")]

    assert [(part["query_match"], part["category_match"]) for part in parts] == [(True, True), (False, False)]


def test_a_goal_without_attributes_or_limit_has_a_score() -> None:
    assert score(shoes(), goal(attributes=[], goal_options=[]), {}) == 1.0
    assert score(shoes(), goal(price_upper=0.0), {"color": "red"}) == pytest.approx(2 / 3)


def test_the_first_colour_of_the_list_wins_wherever_it_stands() -> None:
    colours = ColourWords(["dark", "red"])

    assert [colours.reduce(text) for text in ("red dark", "shredded", "Red")] == ["dark", "red", "Red"]
    assert colours.reduce(("size", "dark red")) == "('size', 'dark red')"


def test_nouns_keep_their_order_and_repetitions() -> None:
    assert nouns_by_rule("The Soft Shoe, a Shoe for 2 Men (quickly)") == ("shoe", "shoe", "men")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attributes": "rubber"}, "must be a list of texts"),
        ({"goal_options": {"size": 3}}, "object of texts"),
        ({"price_upper": "50"}, "must be numbers"),
        ({"name": None}, "must be text"),
        ({"nam": "x"}, r"unknown entries \['nam'\]"),
    ],
)
def test_a_goal_that_is_wrong_is_refused_with_a_reason(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(GoalError, match=message):
        goal_from_record({**goal().to_record(), **changes})


def test_a_goal_survives_its_record() -> None:
    assert goal_from_record(goal().to_record()) == goal()
