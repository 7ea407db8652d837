"""Makes a catalogue from WebShop's own files, reading them piece by piece."""

import ast
import json
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from webshop_server.engine.catalogue_writer import CatalogueWriter, Progress
from webshop_server.engine.colours import DEFAULT_COLOURS
from webshop_server.engine.json_stream import JsonFile
from webshop_server.engine.product import BadProduct, Repairs
from webshop_server.engine.records import is_texts, listing_from_records
from webshop_server.errors import CatalogueError

_NORMALIZE: Final = Path("web_agent_site") / "engine" / "normalize.py"


@dataclass(frozen=True, kw_only=True)
class Sources:
    """The files of a WebShop data set; ``.gz`` is accepted."""

    items: Path
    """``items_shuffle*.json``: an array of products."""
    attributes: Path | None = None
    """``items_ins_v2*.json``: attributes and synthetic instructions by asin; without it, products have no attributes."""
    human: Path | None = None
    """``items_human_ins.json``: instructions by people by asin; without it, there are no goals of that kind."""
    colours: Path | None = None
    """A JSON list or text file of colour words in order, or a WebShop checkout to read them from; ``None`` means our own list."""
    nouns: Path | None = None
    """A JSON object: name of a product -> list of its nouns in lower case; ``None`` means our own rule."""
    limit: int | None = None
    """Only this many products from the start of the file; ``None`` means all."""


def import_catalogue(sources: Sources, folder: Path, *, replace: bool = False, progress: Progress | None = None) -> None:
    """Build a catalogue in ``folder``; called again after an interruption it goes on where it was.

    Raises:
        CatalogueError: A file cannot be read or is not what it should be, or the folder cannot be written.
    """
    colours = read_colours(sources.colours) if sources.colours else DEFAULT_COLOURS
    told: Progress = progress or (lambda _what, _share: None)
    origin = "ours" if sources.colours is None else str(sources.colours)
    facts = {
        "source": sources.items.name,
        "colours": list(colours),
        "colours_from": origin,
        "has_nouns": sources.nouns is not None,
    }
    with CatalogueWriter(folder, _fingerprint(sources), replace=replace, progress=progress) as writer:
        with _Extras(writer.partial / "extras.sqlite") as extras:
            extras.read("attributes", sources.attributes, told)
            extras.read("human", sources.human, told)
            _add_products(writer, sources, extras, told)
        if sources.nouns is not None:
            writer.add_nouns(
                (name, words) for name, words in JsonFile(sources.nouns).items() if _is_storable(name) and is_texts(words)
            )
        (writer.partial / "extras.sqlite").unlink()
        writer.finish(facts)


def read_colours(path: Path) -> tuple[str, ...]:
    """Return colour words in order.

    Args:
        path: A JSON list, a text file with a word on each line, or a WebShop checkout.

    Raises:
        CatalogueError: There is no such list.
    """
    try:
        if path.is_dir():
            return _colours_of_checkout((path / _NORMALIZE).read_text(encoding="utf-8"))
        text = path.read_text(encoding="utf-8")
        words = (
            json.loads(text) if text.lstrip().startswith("[") else [word for line in text.splitlines() if (word := line.strip())]
        )
    except (OSError, ValueError) as error:
        raise CatalogueError(
            f"No colour words can be read from {str(path)!r}: {error}. Give a list or a WebShop checkout."
        ) from error
    if not words or not is_texts(words):
        raise CatalogueError(f"{str(path)!r} has no list of colour words. Give a JSON list, or a word on each line.")
    return tuple(words)


def _colours_of_checkout(code: str) -> tuple[str, ...]:
    for node in ast.parse(code).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "COLOR_SET":
            return tuple(ast.literal_eval(node.value))
    raise ValueError("it assigns no COLOR_SET")


def _add_products(writer: CatalogueWriter, sources: Sources, extras: "_Extras", progress: Progress) -> None:
    file = JsonFile(sources.items)
    size = max(os.path.getsize(sources.items), 1)
    done = writer.num_read
    for number, record in enumerate(file.elements()):
        if sources.limit is not None and number >= sources.limit:
            return
        if number % 1000 == 0:
            progress("products", file.bytes_read / size)
        if number >= done:
            _add_product(writer, record, extras)


def _add_product(writer: CatalogueWriter, record: Any, extras: "_Extras") -> None:
    asin = record.get("asin") if isinstance(record, dict) else None
    repairs = Repairs()
    try:
        listing = listing_from_records(record, extras.get("attributes", asin), extras.get("human", asin), repairs)
    except BadProduct as error:
        writer.skip(str(error), str(asin))
        return
    for what in repairs.counts:
        writer.note(what, listing.product.asin)
    writer.add(listing)


def _fingerprint(sources: Sources) -> str:
    """Return what identifies the input: names, sizes and times of change."""
    facts: dict[str, Any] = {}
    for name, value in asdict(sources).items():
        if not isinstance(value, Path):
            facts[name] = value
            continue
        try:
            status = value.stat()
        except OSError as error:
            raise CatalogueError(f"{str(value)!r} cannot be read: {error.strerror}. Check the path given for {name}.") from error
        facts[name] = [str(value.resolve()), status.st_size, status.st_mtime_ns]
    return json.dumps(facts)


class _Extras:
    """What the other files say about an asin, kept in a database of its own while the products are read."""

    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(path)
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.execute("CREATE TABLE IF NOT EXISTS done (file TEXT PRIMARY KEY)")

    def __enter__(self) -> "_Extras":
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def read(self, name: str, path: Path | None, progress: Progress) -> None:
        """Read a file into a table, unless that has been done."""
        self._database.execute(f"CREATE TABLE IF NOT EXISTS {name} (asin TEXT PRIMARY KEY, record TEXT) WITHOUT ROWID")
        if path is None or self._database.execute("SELECT 1 FROM done WHERE file = ?", (name,)).fetchone():
            return
        progress(name, 0.0)
        self._database.executemany(f"INSERT OR REPLACE INTO {name} VALUES (?, ?)", _rows(path))
        self._database.execute("INSERT INTO done VALUES (?)", (name,))
        self._database.commit()

    def get(self, name: str, asin: Any) -> Any:
        """Return what a file says about an asin, or ``None``."""
        if not isinstance(asin, str) or not _is_storable(asin):
            return None
        row = self._database.execute(f"SELECT record FROM {name} WHERE asin = ?", (asin,)).fetchone()
        return None if row is None else json.loads(row[0])


def _rows(path: Path) -> Iterator[tuple[str, str]]:
    return ((asin, json.dumps(record)) for asin, record in JsonFile(path).items() if _is_storable(asin))


def _is_storable(text: str) -> bool:
    """Half a surrogate pair, which JSON can carry, cannot be stored."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
