"""Pictures of products, drawn from what is known of them: the shape from the name, the colour from the options."""

import re
from typing import Final

from webshop_server.engine.product import Product

_PLACE: Final = re.compile(r"([0-9]{1,3}):([0-9]{1,4})")


def colour_of(text: str) -> str | None:
    """Return the colour that a text names."""
    return None


def draw(product: Product, place: str) -> str:
    """Return the picture."""
    return '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 240 240"><rect width="240" height="240" fill="#ddd"/></svg>'
