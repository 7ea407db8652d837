"""Cards: what a list of results shows of a product."""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from webshop_server.engine.product import Product

_AMOUNT: Final = re.compile(r"[0-9]+\.[0-9]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A product in a list."""

    asin: str
    label: str
    """What clicking on it is called."""
    picture: str
    """The address of its picture, after the root."""
    title: str
    price: str
    note: str
    """What there is to choose."""


def card_of(product: Product) -> Card:
    """Return the card of a product."""
    return Card(
        asin=product.asin,
        label=product.asin.lower(),
        picture=picture_of(product),
        title=product.shown_title or product.asin,
        price=with_cents(product.price_tag),
        note=f"Choose {' and '.join(product.options)}" if product.options else "One version",
    )


def picture_of(product: Product) -> str:
    """Return the address of the picture of a product, after the root."""
    return f"/pictures/{quote(product.asin)}.svg"


def with_cents(price_tag: str) -> str:
    """Return a price as people write it.

    Example:
        >>> with_cents("$1299.0 to $1400.5")
        '$1,299.00 – $1,400.50'
    """
    return _AMOUNT.sub(lambda match: f"{float(match[0]):,.2f}", price_tag).replace(" to ", " – ")
