"""Pictures of products: well-formed, repeatable, and like what they are of."""

import re
from xml.etree import ElementTree

import pytest

from webshop_server.engine.generator import generated_records
from webshop_server.engine.product import Product, Repairs, product_from_record
from webshop_server.engine.vocabulary import vocabulary
from webshop_server.pictures import _colours, _shape_of, _shapes, colour_of, draw

BOOTS = Product(asin="B1", name="Alder Boots", options={"color": ["navy blue", "burgundy"], "size": ["8"]})


def test_every_generated_product_has_a_picture_of_its_own_kind() -> None:
    shapes = {}
    for number in range(400):
        product = product_from_record(generated_records(number, 0)[0], [], Repairs())
        shapes[product.query] = _shape_of(product)
        ElementTree.fromstring(draw(product))

    assert len(shapes) == len(vocabulary().kinds)
    assert shapes["men's hiking boots"] == "boot"
    assert shapes["house slippers"] == "shoe"
    assert shapes["hdmi cables"] == "cable"
    assert len(set(shapes.values())) >= 18


@pytest.mark.parametrize("name", sorted(_shapes()))
def test_every_shape_is_well_formed_and_can_be_asked_for(name: str) -> None:
    product = Product(asin="B1", name=f"Alder {_shapes()[name]['words'][0]}")

    assert _shape_of(product) == name
    picture = draw(product)
    assert ElementTree.fromstring(picture).tag == "{http://www.w3.org/2000/svg}svg"
    assert not re.search(r"\$|script|style|href", picture)


@pytest.mark.parametrize("category", ["fashion", "beauty", "grocery", "electronics", "garden", "", "no such"])
def test_a_product_like_no_other_has_a_picture_too(category: str) -> None:
    ElementTree.fromstring(draw(Product(asin="B1", name="\ud800<&> Qqq", category=category)))


def test_the_same_product_has_the_same_picture() -> None:
    assert draw(BOOTS) == draw(BOOTS)


def test_a_chosen_option_lends_its_colour() -> None:
    assert _colours()["navy"] in draw(BOOTS, "0:0")
    assert _colours()["burgundy"] in draw(BOOTS, "0:1")


@pytest.mark.parametrize("place", ["1:0", "0:2", "2:0", "0", "0:0:0", "x"])
def test_an_option_without_a_colour_leaves_the_picture_as_it_is(place: str) -> None:
    assert draw(BOOTS, place) == draw(BOOTS)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Red", "red"),
        ("light grey", "light grey"),
        ("heather grey", "grey"),
        ("rose pink", "rose"),
        ("shredded", None),
        ("", None),
    ],
)
def test_a_colour_is_a_word_and_longer_names_come_first(text: str, name: str | None) -> None:
    assert colour_of(text) == (None if name is None else _colours()[name])
