"""Pictures of products, drawn from what is known of them: the shape from the name, the colour from the options."""

import colorsys
import functools
import re
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from string import Template
from typing import Any, Final

from webshop_server.engine.product import Product, fraction

_WORD: Final = re.compile(r"[a-z]+")
_PLACE: Final = re.compile(r"([0-9]{1,3}):([0-9]{1,4})")
_QUIET_COLOURS: Final = ("slate", "teal", "rust", "indigo", "olive", "plum", "mustard", "jade", "copper", "sapphire")
_PICTURE: Final = Template(
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 240 240" width="240" height="240">'
    '<rect width="240" height="240" fill="$back"/><ellipse cx="120" cy="199" rx="84" ry="11" fill="$shadow" opacity=".22"/>'
    "$shape"
    '<text x="$x" y="$y" text-anchor="$anchor" font-family="Georgia, serif" font-size="$size" font-weight="bold" '
    'fill="$ink" opacity="$opacity">$initial</text></svg>\n'
)


@functools.lru_cache(maxsize=4096)
def colour_of(text: str) -> str | None:
    """Return the colour that a text names, as ``#rrggbb``, or ``None``.

    Example:
        >>> colour_of("navy blue"), colour_of("x-large")
        ('#27406e', None)
    """
    words = _WORD.findall(text.lower())
    for place, word in enumerate(words):
        for name in (" ".join(words[place : place + 2]), word):
            if name in _colours():
                return _colours()[name]
    return None


def draw(product: Product, place: str = "") -> str:
    """Return the picture of a product as SVG, which needs no style sheet and has no text of the product but an initial.

    Args:
        product: What to draw.
        place: An option whose colour is taken, as ``group:index``; anything else stands for one of those that have a colour.
    """
    shape = _shapes()[_shape_of(product)]
    shades = _shades(_colour(product, place))
    x, y = shape.get("label", (22, 36))
    has_label = "label" in shape
    return _PICTURE.substitute(
        shades,
        shape=Template(shape["svg"]).substitute(shades).strip(),
        x=x,
        y=y,
        anchor="middle" if has_label else "start",
        size=34 if has_label else 24,
        opacity=0.85 if has_label else 0.35,
        initial=next((letter for letter in product.shown_title if letter.isalnum()), "").upper(),
    )


def _shape_of(product: Product) -> str:
    for text in (product.shown_title.partition(",")[0], product.query, product.product_category):
        words = _WORD.findall(text.lower())
        for word in reversed(words):
            if word in _shape_names():
                return _shape_names()[word]
    of_category: Mapping[str, str] = _drawings()["of_category"]
    return of_category.get(product.category, "box")


def _colour(product: Product, place: str) -> str:
    match = _PLACE.fullmatch(place)
    if match is not None and (chosen := _colour_at(product, int(match[1]), int(match[2]))) is not None:
        return chosen
    named = [colour for values in product.options.values() for value in values if (colour := colour_of(value)) is not None]
    choices = named or [_colours()[name] for name in _QUIET_COLOURS]
    return choices[int(fraction("picture", product.asin) * len(choices))]


def _colour_at(product: Product, group: int, index: int) -> str | None:
    groups = list(product.options.values())
    return colour_of(groups[group][index]) if group < len(groups) and index < len(groups[group]) else None


def _shades(colour: str) -> dict[str, str]:
    red, green, blue = (int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5))
    hue, lightness, saturation = colorsys.rgb_to_hls(red, green, blue)
    return {
        "main": colour,
        "dark": _hex(hue, lightness * 0.72, saturation),
        "light": _hex(hue, lightness + (1 - lightness) * 0.3, saturation),
        "pale": _hex(hue, 0.93, saturation * 0.6),
        "back": _hex(hue, 0.95 if lightness < 0.85 else 0.84, min(saturation, 0.35)),
        "shadow": _hex(hue, 0.2, min(saturation, 0.3)),
        "ink": _hex(hue, 0.2, min(saturation, 0.25)),
    }


def _hex(hue: float, lightness: float, saturation: float) -> str:
    return "#" + "".join(f"{round(255 * part):02x}" for part in colorsys.hls_to_rgb(hue, lightness, saturation))


def _shapes() -> Mapping[str, Any]:
    shapes: Mapping[str, Any] = _drawings()["shapes"]
    return shapes


@functools.cache
def _shape_names() -> dict[str, str]:
    """Return word -> name of its shape."""
    return {word: name for name, shape in _shapes().items() for word in shape["words"]}


@functools.cache
def _drawings() -> dict[str, Any]:
    return tomllib.loads(files("webshop_server").joinpath("shapes.toml").read_text(encoding="utf-8"))


@functools.cache
def _colours() -> dict[str, str]:
    return tomllib.loads(files("webshop_server").joinpath("colours.toml").read_text(encoding="utf-8"))
