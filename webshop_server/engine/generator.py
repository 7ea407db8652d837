"""The generated catalogue: plausible products with instructions that can be fulfilled, from nothing but a seed."""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any, Final

from webshop_server.engine.catalogue_writer import DATABASE, SCHEMA, CatalogueWriter, Progress
from webshop_server.engine.colours import DEFAULT_COLOURS
from webshop_server.engine.product import Repairs
from webshop_server.engine.records import listing_from_records
from webshop_server.engine.vocabulary import ProductKind, vocabulary
from webshop_server.errors import CatalogueError

DEFAULT_PRODUCTS: Final = 1000
MOST_PRODUCTS: Final = 2_000_000
_VERSION: Final = 1
_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_STRIDE: Final = 7_777_777_777  # has no divisor in common with 36, so that no two numbers give the same asin
_INSTRUCTIONS_PER_PRODUCT: Final = 2

Records = tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]
"""A product's entries in the three files of a WebShop data set."""


def generate_catalogue(
    folder: Path, num_products: int = DEFAULT_PRODUCTS, seed: int = 0, *, replace: bool = False, progress: Progress | None = None
) -> None:
    """Write a catalogue of generated products, the same for the same seed, everywhere.

    Args:
        folder: Where it goes.
        num_products: How many; a larger catalogue begins with the products of a smaller one.
        seed: Chooses the products.
        replace: Whether a catalogue that is there may be replaced.
        progress: Told how far the work is.

    Raises:
        CatalogueError: The number is out of range, or the folder cannot be written.
    """
    if not 1 <= num_products <= MOST_PRODUCTS:
        raise CatalogueError(f"The number of products is {num_products!r}; it must be between 1 and {MOST_PRODUCTS}.")
    fingerprint = f"generated {_VERSION} {num_products} {seed}"
    facts = {"source": f"generated, seed {seed}", "colours": list(DEFAULT_COLOURS), "colours_from": "ours", "has_nouns": False}
    with CatalogueWriter(folder, fingerprint, replace=replace, progress=progress) as writer:
        for number in range(writer.num_read, num_products):
            if progress is not None and number % 1000 == 0:
                progress("products", number / num_products)
            writer.add(listing_from_records(*generated_records(number, seed), Repairs()))
        writer.finish(facts)


def default_catalogue(cache: Path) -> Path:
    """Return the folder of the default catalogue, which is generated when it is first asked for.

    Args:
        cache: Folder that keeps it; processes may share it.

    Raises:
        CatalogueError: The folder cannot be written.
    """
    folder = cache / f"generated-{DEFAULT_PRODUCTS}-v{_VERSION}-{SCHEMA}"
    if (folder / DATABASE).exists():
        return folder
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=".making-") as workshop:
            made = Path(workshop) / "catalogue"
            generate_catalogue(made)
            _publish(made, folder)
    except OSError as error:
        raise CatalogueError(
            f"The cache {str(cache)!r} cannot be written: {error.strerror}. Set XDG_CACHE_HOME to a folder that can."
        ) from error
    return folder


def generated_records(number: int, seed: int) -> Records:
    """Return product ``number`` as the files of a data set would have it.

    Returns:
        Its elements of ``items_shuffle.json``, ``items_ins_v2.json`` and ``items_human_ins.json``.
    """
    random = Random(f"{_VERSION} {seed} {number}")
    kind = random.choice(vocabulary().kinds)
    attributes = random.sample(kind.attributes, random.randint(4, 6))
    options = {name: _some(random, values) for name, values in kind.options.items()}
    record = {
        "asin": _asin(number, seed),
        "name": _title(random, kind, attributes),
        "full_description": " ".join(
            [f"{kind.name}, {attributes[1]} and {attributes[2]}.", *random.sample(vocabulary().praise, 2)]
        ),
        "small_description": [_feature(random, attribute) for attribute in attributes],
        "pricing": f"${random.randint(*kind.prices) - random.choice((0.01, 0.05, 0.5)):.2f}",
        "customization_options": {
            name.title(): [{"value": value, "image": None} for value in values] for name, values in options.items()
        },
        "category": kind.category,
        "query": kind.query,
        "product_category": kind.path,
        "images": [f"generated/{_asin(number, seed)}.svg"],
    }
    wanted = random.sample(attributes, 2)
    synthetic = {
        "attributes": attributes,
        "instruction": f"Find me {', '.join(wanted)} {kind.query}",
        "instruction_attributes": wanted,
    }
    human = [_instruction(random, kind, attributes, options) for _ in range(_INSTRUCTIONS_PER_PRODUCT)]
    return record, synthetic, human


def _publish(made: Path, folder: Path) -> None:
    """Move a finished catalogue into the cache, unless another process was faster."""
    try:
        made.rename(folder)
    except OSError:
        if not (folder / DATABASE).exists():
            raise
        shutil.rmtree(made)


def _asin(number: int, seed: int) -> str:
    rest, digits = (number * _STRIDE + seed) % 36**9, ""
    for _ in range(9):
        rest, digit = divmod(rest, 36)
        digits = _DIGITS[digit] + digits
    return f"B{digits}"


def _some(random: Random, values: Sequence[str]) -> list[str]:
    """Return two to six of the values, in their own order."""
    chosen = set(random.sample(values, random.randint(2, min(6, len(values)))))
    return [value for value in values if value in chosen]


def _title(random: Random, kind: ProductKind, attributes: Sequence[str]) -> str:
    brand = random.choice(vocabulary().brand_beginnings) + random.choice(vocabulary().brand_endings)
    model = f"{random.choice(_DIGITS[10:])}{random.choice(_DIGITS[10:])}-{random.randint(100, 9999)}"
    shown = attributes[0].title()
    return (
        f"{brand} {random.choice(vocabulary().adjectives)} {kind.name}, {shown}, {random.choice(vocabulary().audiences)}, {model}"
    )


def _feature(random: Random, attribute: str) -> str:
    feature = random.choice(vocabulary().feature_patterns).format(attribute=attribute)
    return feature[0].upper() + feature[1:]


def _instruction(random: Random, kind: ProductKind, attributes: Sequence[str], options: dict[str, list[str]]) -> dict[str, Any]:
    wanted = random.sample(attributes, random.randint(1, 3))
    names = random.sample(sorted(options), random.randint(0, len(options)))
    chosen = {name: random.choice(options[name]) for name in names}
    choices = " and ".join(f"{value} for the {name}" for name, value in chosen.items())
    text = f"{random.choice(vocabulary().openings)} {kind.query} {random.choice(vocabulary().joints)} {' and '.join(wanted)}"
    return {
        "instruction": f"{text}. i'd take {choices}." if choices else f"{text}.",
        "instruction_attributes": wanted,
        "instruction_options": list(chosen.values()),
    }
