"""Catalogue: a folder with products, goals and a search index, opened for reading; what a session needs of a shop."""

import functools
import json
import sqlite3
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from webshop_server.engine.catalogue_writer import DATABASE, INDEX, SCHEMA, partial_folder
from webshop_server.engine.colours import ColourWords
from webshop_server.engine.goal_list import GoalKind, GoalList, HumanGoals, SyntheticGoals
from webshop_server.engine.nouns import nouns_by_rule
from webshop_server.engine.product import Product
from webshop_server.engine.scoring import Quirks, Scorer
from webshop_server.engine.search import SearchIndex
from webshop_server.errors import CatalogueError, TooManyTermsError

NUM_RESULTS: Final = 50
"""How many products a search returns at most, as in WebShop."""
_CACHED_PRODUCTS: Final = 4096
_CACHED_QUERIES: Final = 1024


class Catalogue:
    """A shop's data. Processes that open the same folder share its memory; threads may use one object together.

    Args:
        folder: What ``mise-gym webshop build`` or the generator wrote.
        quirks: How purchases are scored; see ``Scorer``.

    Raises:
        CatalogueError: The folder is not a catalogue, is of another version, or is not finished.
    """

    def __init__(self, folder: Path, quirks: Quirks = "upstream") -> None:
        self.folder = folder
        self._lock = threading.RLock()
        self._database = _open_database(folder)
        weakref.finalize(self, self._database.close)
        self.settings = _read_settings(self._database, folder)
        """What the catalogue was made from and with."""
        try:
            self._index = SearchIndex(folder / INDEX)
            goals: dict[GoalKind, GoalList] = {
                "human": HumanGoals(self._database, folder),
                "synthetic": SyntheticGoals(self._database, folder),
            }
        except (OSError, ValueError) as error:
            raise CatalogueError(f"The catalogue {str(folder)!r} is damaged: {error}. Build it again.") from error
        self._goals = goals
        colours = ColourWords(self.settings["colours"])
        nouns = functools.lru_cache(maxsize=_CACHED_PRODUCTS)(self._nouns) if self.settings["has_nouns"] else nouns_by_rule
        self.scorer = Scorer(colours=colours, nouns=nouns, quirks=quirks)
        self._cached_product = functools.lru_cache(maxsize=_CACHED_PRODUCTS)(self._load_product)
        self._cached_search = functools.lru_cache(maxsize=_CACHED_QUERIES)(self._run_search)

    def __len__(self) -> int:
        """Return the number of products that can be found."""
        return len(self._index)

    def product(self, asin: str) -> Product:
        """Return the product with this asin.

        Raises:
            CatalogueError: There is none.
        """
        return self._cached_product(asin)

    def search(self, query: str) -> Sequence[str]:
        """Return the asins of the best ``NUM_RESULTS`` products, best first; none for a query that is too long."""
        return self._cached_search(query)

    def goals(self, kind: GoalKind) -> GoalList:
        """Return the goals of one kind."""
        return self._goals[kind]

    def problems(self) -> dict[str, tuple[int, str]]:
        """Return what was left out or mended when the catalogue was built: what -> (how often, an example)."""
        rows = self._database.execute("SELECT what, count(*), min(example) FROM problem GROUP BY what ORDER BY 2 DESC, 1")
        return {what: (count, example) for what, count, example in rows}

    def _load_product(self, asin: str) -> Product:
        with self._lock:
            row = self._database.execute("SELECT record FROM product WHERE asin = ?", (asin,)).fetchone()
        if row is None:
            raise CatalogueError(f"There is no product {asin!r} in {str(self.folder)!r}. Search for one.")
        return Product.from_json(row[0])

    def _run_search(self, query: str) -> tuple[str, ...]:
        with self._lock:
            try:
                return tuple(asin for asin, _ in self._index.search(query, NUM_RESULTS))
            except TooManyTermsError:
                return ()

    def _nouns(self, name: str) -> tuple[str, ...]:
        with self._lock:
            row = self._database.execute("SELECT words FROM nouns WHERE name = ?", (name,)).fetchone()
        return nouns_by_rule(name) if row is None else tuple(json.loads(row[0]))


def _open_database(folder: Path) -> sqlite3.Connection:
    path = folder / DATABASE
    if folder.is_file():
        raise CatalogueError(
            f"{str(folder)!r} is a file; a catalogue is a folder. Make one of WebShop's files with: mise-gym webshop build."
        )
    if not path.is_file() and partial_folder(folder).is_dir():
        raise CatalogueError(f"The catalogue {str(folder)!r} is not finished. Run the command that builds it again.")
    if not path.is_file():
        raise CatalogueError(f"{str(folder)!r} is not a catalogue: it has no {DATABASE}. Build one with: mise-gym webshop build.")
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True, check_same_thread=False)


def _read_settings(database: sqlite3.Connection, folder: Path) -> dict[str, Any]:
    try:
        rows = dict(database.execute("SELECT key, value FROM meta"))
        (size,) = database.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size").fetchone()
        if size > (folder / DATABASE).stat().st_size:
            raise sqlite3.DatabaseError("it ends too early")
    except sqlite3.Error as error:
        raise CatalogueError(f"{str(folder / DATABASE)!r} is damaged: {error}. Build the catalogue again.") from error
    if "schema" not in rows:
        raise CatalogueError(f"The catalogue {str(folder)!r} is not finished. Run the command that builds it again.")
    if json.loads(rows["schema"]) != SCHEMA:
        raise CatalogueError(
            f"The catalogue {str(folder)!r} has version {rows['schema']}; this version reads {SCHEMA}. Build it again."
        )
    return {key: json.loads(value) for key, value in rows.items() if key not in ("fingerprint", "num_read")}
