"""The explanation of a purchase score says what the score says."""

from pathlib import Path

import pytest

from tests.webshop_server.small_shop import goal, small_catalogue
from webshop_server.engine.catalogue import Catalogue
from webshop_server.engine.generator import generate_catalogue
from webshop_server.engine.goal import NO_LIMIT, Goal
from webshop_server.receipt import Receipt, write_receipt


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    return small_catalogue(tmp_path_factory.mktemp("shop"))


def receipt(shop: Catalogue, asin: str, wanted: Goal, **chosen: str) -> Receipt:
    return write_receipt(shop.scorer, shop.product(asin), wanted, chosen)


def test_each_thing_that_was_asked_for_has_a_line(shop: Catalogue) -> None:
    wanted = goal(attributes=["quick drying", "waterproof"], goal_options=["red", "9.5"])
    lines = receipt(shop, "B000000001", wanted, color="red").lines

    assert [(line.part, line.asked, line.bought, line.share) for line in lines] == [
        ("Attribute", "quick drying", "has it", 1.0),
        ("Attribute", "waterproof", "not found", 0.0),
        ("Option", "red", "color: red", 1.0),
        ("Option", "9.5", "color: red", 0.0),
        ("Price", "at most $50.00", "$45.50", 1.0),
    ]


def test_options_with_names_are_explained_with_names(shop: Catalogue) -> None:
    (line, _) = receipt(shop, "B000000001", goal(attributes=[], goal_options={"size": "8"}), size="8").lines

    assert (line.asked, line.share) == ("size: 8", 1.0)


def test_a_price_that_is_too_high_and_one_that_does_not_matter(shop: Catalogue) -> None:
    dear, free = receipt(shop, "B000000001", goal(price_upper=20.0)), receipt(shop, "B000000001", goal(price_upper=NO_LIMIT))

    assert (dear.lines[-1].asked, dear.lines[-1].share) == ("at most $20.00", 0.0)
    assert (free.lines[-1].asked, free.lines[-1].share) == ("any price", 1.0)


def test_a_product_of_another_type_is_seen_in_the_type_line(shop: Catalogue) -> None:
    assert receipt(shop, "B000000003", goal()).type_line.share < 1.0


@pytest.mark.parametrize("quirks", ["upstream", "fixed"])
def test_type_times_the_mean_of_the_lines_is_the_score(tmp_path: Path, quirks: str) -> None:
    generate_catalogue(tmp_path / "shop", 40)
    shop = Catalogue(tmp_path / "shop", quirks)  # type: ignore[arg-type]
    for kind in ("human", "synthetic"):
        for number in range(40):
            wanted = shop.goals(kind)[number]  # type: ignore[index]
            for asin in (wanted.asin, shop.goals("human")[number + 1].asin):
                product = shop.product(asin)
                found = write_receipt(shop.scorer, product, wanted, {name: values[0] for name, values in product.options.items()})
                assert found.score == pytest.approx(found.type_line.share * found.num_met / len(found.lines), abs=1e-12)
