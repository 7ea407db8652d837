"""Words that the generated catalogue is made of: kinds of products with what they are chosen by and what is said of them."""

import functools
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any


@dataclass(frozen=True, kw_only=True)
class ProductKind:
    """One kind of product."""

    name: str
    """How it is called in a title."""
    query: str
    """What one would search for."""
    category: str
    path: str
    prices: tuple[int, int]
    """Lowest and highest price in dollars."""
    options: Mapping[str, Sequence[str]]
    """Name of a choice -> its possible values; no value stands under two names."""
    attributes: Sequence[str]
    """What may be said of it; an instruction asks for some."""


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """Everything in ``vocabulary.toml``."""

    kinds: Sequence[ProductKind]
    brand_beginnings: Sequence[str]
    brand_endings: Sequence[str]
    adjectives: Sequence[str]
    audiences: Sequence[str]
    praise: Sequence[str]
    feature_patterns: Sequence[str]
    openings: Sequence[str]
    joints: Sequence[str]


@functools.cache
def vocabulary() -> Vocabulary:
    """Return the words, which are read once."""
    text = files("webshop_server.engine").joinpath("vocabulary.toml").read_text(encoding="utf-8")
    data = tomllib.loads(text)
    attributes, values = data.pop("attributes"), data.pop("values")
    kinds = [_kind(entry, attributes, values) for entry in data.pop("kinds")]
    return Vocabulary(kinds=kinds, **data)


def _kind(entry: dict[str, Any], attributes: Mapping[str, Sequence[str]], values: Mapping[str, Sequence[str]]) -> ProductKind:
    options = {name: values[of] if isinstance(of, str) else of for name, of in entry.pop("options").items()}
    low, high = entry.pop("prices")
    return ProductKind(options=options, prices=(low, high), attributes=attributes[entry.pop("attributes")], **entry)
