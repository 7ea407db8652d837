"""Writes a catalogue folder: products and goals in SQLite, the order of goals in numpy files, and the search index.

All work is done in a folder beside the final one, which gets its name only when everything is there. A writer that is stopped
goes on where it was when it is started again for the same input.
"""

import contextlib
import json
import os
import random
import shutil
import sqlite3
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from webshop_server.engine.index_writer import IndexWriter
from webshop_server.engine.listing import Listing, human_goals, num_combinations
from webshop_server.engine.product import Product
from webshop_server.errors import CatalogueError

SCHEMA: Final = 2
"""Version of the folder; a catalogue of another version is refused."""
DATABASE: Final = "catalogue.sqlite"
INDEX: Final = "index"
SHUFFLE_SEED: Final = 233
"""WebShop's: it decides the order of goals, and with it the splits."""
Progress = Callable[[str, float], None]
"""Called with what is being done and the share that is done, in [0, 1]."""
_MOST_COMBINATIONS: Final = 100_000
_COMMIT_EVERY: Final = 2_000
_GOALS_AT_A_TIME: Final = 1_000_000
_TABLES: Final = """
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
    CREATE TABLE product (number INTEGER PRIMARY KEY, asin TEXT UNIQUE, record TEXT);
    CREATE TABLE human (number INTEGER PRIMARY KEY, record TEXT);
    CREATE TABLE synthetic (product INTEGER PRIMARY KEY, text TEXT, attributes TEXT, combinations INTEGER);
    CREATE TABLE nouns (name TEXT PRIMARY KEY, words TEXT) WITHOUT ROWID;
    CREATE TABLE problem (what TEXT, example TEXT);
"""


class CatalogueWriter:
    """Fills a catalogue folder.

    Args:
        folder: The final folder; must not exist, or be a catalogue if ``replace`` is given.
        fingerprint: Says what the catalogue is made from. Work that was begun from something else is thrown away.
        replace: Whether a catalogue that is there may be replaced.
        progress: Told how far the work is.

    Raises:
        CatalogueError: There is something at ``folder`` already, or it cannot be written.
    """

    def __init__(self, folder: Path, fingerprint: str, *, replace: bool = False, progress: Progress | None = None) -> None:
        if folder.exists() and not (replace and (folder / DATABASE).exists()):
            raise CatalogueError(f"{str(folder)!r} is there already. Choose another folder, or remove it.")
        self.folder = folder
        self.partial = partial_folder(folder)
        self._progress: Progress = progress or (lambda _what, _share: None)
        try:
            self._database = self._open(fingerprint)
        except (OSError, sqlite3.Error) as error:
            raise _cannot_write(folder, error) from error
        self.num_read = int(self._meta("num_read") or 0)
        self._since_commit = 0

    def __enter__(self) -> "CatalogueWriter":
        """Begin or go on."""
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        """Keep what has been done so far for the next time; say in one sentence why the disk did not take it."""
        with contextlib.suppress(sqlite3.Error):
            self._save()
            self._database.close()
        if isinstance(error, OSError | sqlite3.Error):
            raise _cannot_write(self.folder, error) from error

    def skip(self, what: str, example: str) -> None:
        """Count one more record that was read; it was left out, and why."""
        self.note(what, example)
        self._count()

    def note(self, what: str, example: str) -> None:
        """Remember a problem."""
        self._database.execute("INSERT INTO problem VALUES (?, ?)", (what, example.encode("utf-8", "replace").decode()))

    def add(self, listing: Listing) -> None:
        """Count one more record that was read, and keep what it lists unless its asin is there already."""
        product = listing.product
        row = self._database.execute(
            "INSERT OR IGNORE INTO product (asin, record) VALUES (?, ?)", (product.asin, product.to_json())
        )
        if not row.rowcount:
            self.skip("asin is there already", product.asin)
            return
        for goal in human_goals(listing):
            self._database.execute("INSERT INTO human (record) VALUES (?)", (goal.to_json(),))
        if listing.synthetic is not None:
            self._add_synthetic(row.lastrowid or 0, listing)
        self._count()

    def add_nouns(self, nouns: Iterable[tuple[str, Sequence[str]]]) -> None:
        """Keep the nouns of product names."""
        rows = ((name, json.dumps(list(words))) for name, words in nouns)
        self._database.executemany("INSERT OR REPLACE INTO nouns VALUES (?, ?)", rows)

    def finish(self, settings: dict[str, object]) -> None:
        """Write goals, index and settings, and give the folder its name.

        Args:
            settings: JSON-serialisable facts that readers need, such as the list of colour words.
        """
        self._save()
        self._write_goals()
        self._write_index()
        for key, value in {**settings, "schema": SCHEMA}.items():
            self._set_meta(key, json.dumps(value))
        self._database.commit()
        self._database.close()
        _move(self.partial, self.folder)

    def _open(self, fingerprint: str) -> sqlite3.Connection:
        self.partial.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(self.partial / DATABASE)
        database.execute("PRAGMA synchronous = OFF")  # safe when the process dies; after a power cut one builds anew
        if not database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            database.executescript(_TABLES)
        self._database = database
        if self._meta("fingerprint") not in (None, fingerprint):
            database.close()
            shutil.rmtree(self.partial)
            return self._open(fingerprint)
        self._set_meta("fingerprint", fingerprint)
        database.commit()
        return database

    def _count(self) -> None:
        self.num_read += 1
        self._since_commit += 1
        if self._since_commit >= _COMMIT_EVERY:
            self._save()

    def _save(self) -> None:
        self._set_meta("num_read", str(self.num_read))
        self._database.commit()
        self._since_commit = 0

    def _add_synthetic(self, number: int, listing: Listing) -> None:
        assert listing.synthetic is not None
        combinations = num_combinations(listing.product)
        if combinations > _MOST_COMBINATIONS:
            self.note(f"more than {_MOST_COMBINATIONS} combinations of options, no synthetic goals", listing.product.asin)
        elif combinations and listing.synthetic.attributes:
            values = (number, listing.synthetic.text, json.dumps(list(listing.synthetic.attributes)), combinations)
            self._database.execute("INSERT INTO synthetic VALUES (?, ?, ?, ?)", values)

    def _write_goals(self) -> None:
        self._progress("goals", 0.0)
        num_human = self._database.execute("SELECT count(*) FROM human").fetchone()[0]
        np.save(self.partial / "human_order.npy", _shuffled(num_human))
        counts: Counter[str] = Counter()
        products, sizes = array("I"), array("I")
        for product, attributes, combinations in self._synthetic_rows():
            products.append(product)
            sizes.append(combinations)
            for attribute in attributes:
                counts[attribute] += combinations
        weights = np.fromiter(
            (_weight(attributes, counts) for _, attributes, _ in self._synthetic_rows()), np.float64, len(products)
        )
        starts = np.concatenate([[0], np.cumsum(np.array(sizes, dtype=np.int64))])
        order = _shuffled(int(starts[-1]))
        for name, values in {"order": order, "products": np.array(products), "starts": starts, "row_weights": weights}.items():
            np.save(self.partial / f"synthetic_{name}.npy", values)
        _write_cumulative(self.partial / "synthetic_weights.npy", order, starts, weights)

    def _synthetic_rows(self) -> Iterator[tuple[int, list[str], int]]:
        query = "SELECT product, attributes, combinations FROM synthetic ORDER BY product"
        return ((product, json.loads(attributes), count) for product, attributes, count in self._database.execute(query))

    def _write_index(self) -> None:
        index = IndexWriter(self.partial / INDEX)
        total = self._database.execute("SELECT count(*) FROM product").fetchone()[0]
        if not total:
            raise CatalogueError("There is no usable product in the input. Check the file of products.")
        for number, (record,) in enumerate(self._database.execute("SELECT record FROM product ORDER BY number")):
            product = Product.from_json(record)
            index.add(product.asin, product.contents)
            if number % 1000 == 0:
                self._progress("search index", number / total)
        index.close()

    def _meta(self, key: str) -> str | None:
        row = self._database.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def _set_meta(self, key: str, value: str) -> None:
        self._database.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))


def partial_folder(folder: Path) -> Path:
    """Return where a catalogue is worked on before it gets its name."""
    return folder.with_name(f"{folder.name}.partial")


def _shuffled(count: int) -> npt.NDArray[np.uint32]:
    """Return the numbers below ``count`` in the order into which WebShop shuffles a list. Shape ``(count,)``."""
    order = array("I", range(count))
    random.Random(SHUFFLE_SEED).shuffle(order)
    return np.frombuffer(order, dtype=np.uint32) if count else np.empty(0, dtype=np.uint32)


def _write_cumulative(
    path: Path, order: npt.NDArray[np.uint32], starts: npt.NDArray[np.int64], weights: npt.NDArray[np.float64]
) -> None:
    """Write the sum of the weights of all goals up to each, shape ``(goals,)``; a piece at a time, because there are many."""
    total = 0.0
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": order.shape})
        for first in range(0, len(order), _GOALS_AT_A_TIME):
            piece = order[first : first + _GOALS_AT_A_TIME]
            sums = weights[np.searchsorted(starts, piece, side="right") - 1]
            sums[0] += total
            total = np.cumsum(sums, out=sums)[-1]
            file.write(sums.tobytes())


def _weight(attributes: Sequence[str], counts: Counter[str]) -> float:
    return sum(1 / counts[attribute] for attribute in attributes) / len(attributes)


def _move(source: Path, target: Path) -> None:
    """Give the finished folder its name; if another process was faster, its catalogue stays."""
    if not (target / DATABASE).exists():
        os.replace(source, target)
        return
    old = target.with_name(f"{target.name}.old")
    os.replace(target, old)
    os.replace(source, target)
    shutil.rmtree(old)


def _cannot_write(folder: Path, error: Exception) -> CatalogueError:
    return CatalogueError(f"The catalogue {str(folder)!r} cannot be written: {error}. Check the disk and its permissions.")
