"""Product: one article of the shop, made from the record that catalogue files have for it."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

DEFAULT_PRICE: Final = 100.0
"""Price of a product whose record has none."""
UNKNOWN_ATTRIBUTES: Final = ("DUMMY_ATTR",)
"""Attributes of a product that the attribute file does not know."""
LONGEST_ASIN: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """What the shop knows of an article."""

    asin: str
    """Its identifier."""
    name: str
    """What it is called."""
    title: str | None = None
    """How the shop shows it; ``None`` means its name."""
    description: str = ""
    bullet_points: Sequence[str] = field(default_factory=list)
    """The features."""
    price: float = DEFAULT_PRICE
    """What it costs, in dollars."""
    price_tag: str = "$100.0"
    """The price as it is shown; may be a range."""
    options: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Name of a choice, such as "size" -> its values, all in lower case."""
    attributes: Sequence[str] = field(default_factory=list)
    """Hidden properties that goals ask for."""
    category: str = ""
    query: str = ""
    """The search words under which the article was found."""
    product_category: str = ""
    """Path of categories, joined by " › "."""
    image: str = ""

    @property
    def contents(self) -> str:
        """The text that is indexed."""
        options = ", and ".join(f"{name}: {', '.join(values)}" for name, values in self.options.items())
        first = self.bullet_points[0] if self.bullet_points else ""
        return f"{self.shown_title} {self.description} {first} {options}".lower()

    @property
    def shown_title(self) -> str:
        """How the shop shows it."""
        return self.name if self.title is None else self.title

    def to_json(self) -> str:
        """Return one line that ``from_json`` reads."""
        return json.dumps([getattr(self, name) for name in self.__slots__], separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str) -> "Product":
        """Return the product that ``to_json`` wrote."""
        return cls(**dict(zip(cls.__slots__, json.loads(line), strict=True)))


class BadProduct(Exception):
    """A record that cannot become a product; the message is the reason."""


@dataclass(kw_only=True)
class Repairs:
    """Counts what had to be mended while records were read."""

    counts: dict[str, int] = field(default_factory=dict)

    def note(self, what: str) -> None:
        """Count one repair."""
        self.counts[what] = self.counts.get(what, 0) + 1


def product_from_record(record: Any, attributes: Sequence[str] | None, repairs: Repairs) -> Product:
    """Make a product of a record in the format of WebShop's ``items_shuffle.json``.

    Args:
        record: One element of the file.
        attributes: The product's entry in the attribute file; ``None`` if it has none.
        repairs: Counts fields that were of the wrong kind and have been replaced by something harmless.

    Raises:
        BadProduct: The record is not an object, or its asin is missing, "nan", or longer than ten characters.
    """
    if not isinstance(record, dict):
        raise BadProduct("not an object")
    asin = record.get("asin")
    if not isinstance(asin, str) or not asin:
        raise BadProduct("no asin")
    if asin == "nan" or len(asin) > LONGEST_ASIN or not asin.isprintable():
        raise BadProduct("asin is nan, longer than 10 characters, or not printable")
    price, price_tag = _price(asin, record.get("pricing"), repairs)
    images = record.get("images")
    return Product(
        asin=asin,
        name=_text(record, "name", repairs),
        description=_text(record, "full_description", repairs),
        bullet_points=_bullet_points(record.get("small_description"), repairs),
        price=price,
        price_tag=price_tag,
        options=_options(record.get("customization_options"), repairs),
        attributes=list(UNKNOWN_ATTRIBUTES if attributes is None else attributes),
        category=_text(record, "category", repairs),
        query=_text(record, "query", repairs).lower().strip(),
        product_category=_text(record, "product_category", repairs),
        image=images[0] if isinstance(images, list) and images and isinstance(images[0], str) else "",
    )


def fraction(*words: object) -> float:
    """Return a number in [0, 1) that depends on ``words`` only, the same everywhere and always."""
    digest = hashlib.sha256("\x1f".join(map(str, words)).encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:7], "big") / (1 << 56)


def _text(record: dict[str, Any], name: str, repairs: Repairs) -> str:
    value = record.get(name)
    if isinstance(value, str):
        return value
    if value is not None:
        repairs.note(f"{name} is not text")
    return ""


def _bullet_points(value: Any, repairs: Repairs) -> list[str]:
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        if value is not None:
            repairs.note("small_description is neither text nor a list")
        return []
    points = [point for point in value if isinstance(point, str)]
    if len(points) < len(value):
        repairs.note("small_description has entries that are not text")
    return points


def _price(asin: str, pricing: Any, repairs: Repairs) -> tuple[float, str]:
    """Return the price and how it is shown; in a range, a price that depends on the asin only."""
    if not pricing:
        return DEFAULT_PRICE, f"${DEFAULT_PRICE}"
    pieces = pricing.split("$")[1:] if isinstance(pricing, str) else []
    prices = [float(digits) for piece in pieces if re.fullmatch(r"\d+\.?\d*|\.\d+", digits := re.sub(r"[^\d.]", "", piece))]
    if not prices or len(prices) < len(pieces):
        repairs.note("pricing cannot be read")
    if not prices:
        return DEFAULT_PRICE, f"${DEFAULT_PRICE}"
    if len(prices) == 1:
        return prices[0], f"${prices[0]}"
    low, high = prices[:2]
    return round(low + (high - low) * fraction("price", asin), 2), f"${low} to ${high}"


def _options(value: Any, repairs: Repairs) -> dict[str, list[str]]:
    if not value:
        return {}
    if not isinstance(value, dict):
        repairs.note("customization_options is not an object")
        return {}
    options: dict[str, list[str]] = {}
    for name, contents in value.items():
        if contents is None:
            continue
        values = [_option_value(entry["value"]) for entry in _entries(contents)]
        if len(values) < len(contents if isinstance(contents, list) else [contents]):
            repairs.note("customization_options has values that are not text")
        options[name.lower()] = values
    return options


def _entries(contents: Any) -> list[dict[str, str]]:
    if not isinstance(contents, list):
        return []
    return [entry for entry in contents if isinstance(entry, dict) and isinstance(entry.get("value"), str)]


def _option_value(text: str) -> str:
    return text.strip().replace("/", " | ").lower()
