"""Storefront: the catalogue, the goals and the visits behind a served shop; everything but the web."""

import functools
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from webshop_server.config import ShopConfig
from webshop_server.engine.catalogue import Catalogue
from webshop_server.engine.goal_list import GoalKind, split_ranges
from webshop_server.errors import GoalError
from webshop_server.fragments import Fragments
from webshop_server.past_visit import Errand
from webshop_server.visit_store import VisitStore
from webshop_server.visits import Visit

PER_PAGE: Final = 12
"""Goals on a page of the list."""
MOST_SEARCHED: Final = 20_000
"""Goals that a search looks through, from the first on: synthetic ones are made when they are asked for."""
_KEPT_FRAGMENTS: Final = 4096
_CACHED_ERRANDS: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class GoalPage:
    """Some of the goals that have the words in them."""

    errands: Sequence[Errand]
    number: int
    """Number of the page, from 1."""
    num_pages: int
    total: int
    """How many goals have the words."""
    num_searched: int
    """How many goals were looked through."""


class Storefront:
    """What the pages of a shop are about. Threads may use it together.

    Args:
        config: Settings.
        clock: Returns seconds that never go back; visits are forgotten by it.

    Raises:
        CatalogueError: The folder is not a catalogue.
    """

    def __init__(self, config: ShopConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self.config = config
        self.catalogue = Catalogue(config.catalogue, config.quirks)
        self.fragments = Fragments(_KEPT_FRAGMENTS)
        """Parts of pages, kept for all visits."""
        self.visits = VisitStore(
            most=config.most_visits, most_bytes=config.most_bytes, idle_seconds=config.idle_seconds, clock=clock
        )
        self._goals = {kind: self.catalogue.goals(kind) for kind in ("human", "synthetic")}
        self._splits = {kind: split_ranges(len(goals)) for kind, goals in self._goals.items()}
        self._cached_errand = functools.lru_cache(maxsize=_CACHED_ERRANDS)(self._errand)
        self._random = Random(config.seed)
        self._texts: dict[GoalKind, list[str]] = {}
        self._lock = threading.Lock()

    def num_goals(self, kind: GoalKind) -> int:
        """Return how many goals of a kind there are."""
        return len(self._goals[kind])

    def errand(self, kind: GoalKind, number: int) -> Errand:
        """Return a goal by its number.

        Raises:
            GoalError: There is none.
        """
        return self._cached_errand(kind, number)

    def random_errand(self, kind: GoalKind) -> Errand:
        """Return a goal drawn by weight.

        Raises:
            GoalError: There are none.
        """
        if not self.num_goals(kind):
            raise GoalError(f"The catalogue has no {kind} goals. Choose the other kind.")
        return self.errand(kind, self._goals[kind].draw(range(self.num_goals(kind)), self._random.random()))

    def goal_page(self, kind: GoalKind, words: str, number: int) -> GoalPage:
        """Return a page of the goals that have all words in their instruction; of all goals if there are no words.

        Args:
            kind: Which list.
            words: What to look for, separated by blanks.
            number: Number of the page, from 1; one that does not exist stands for the nearest.
        """
        found: Sequence[int] = range(self.num_goals(kind))
        num_searched = len(found)
        if wanted := words.lower().split():
            texts = self._searchable(kind)
            num_searched = len(texts)
            found = [place for place, text in enumerate(texts) if all(word in text for word in wanted)]
        num_pages = max(1, -(-len(found) // PER_PAGE))
        number = min(max(number, 1), num_pages)
        shown = found[(number - 1) * PER_PAGE : number * PER_PAGE]
        errands = [self.errand(kind, place) for place in shown]
        return GoalPage(errands=errands, number=number, num_pages=num_pages, total=len(found), num_searched=num_searched)

    def open_visit(self, errand: Errand) -> Visit:
        """Let a shopper in; the first page is step 0."""
        return self.visits.add(lambda visit_id: Visit(visit_id, errand, self.catalogue, self.config))

    def close(self) -> None:
        """End all visits; those that are not over are reported as they are."""
        self.visits.close()

    def _errand(self, kind: GoalKind, number: int) -> Errand:
        count = self.num_goals(kind)
        if not 0 <= number < count:
            raise GoalError(f"There is no {kind} goal {number}; the catalogue has {count:,}, counted from 0.")
        split = next(name for name, numbers in self._splits[kind].items() if number in numbers)
        return Errand(goal=self._goals[kind][number], kind=kind, number=number, split=split)

    def _searchable(self, kind: GoalKind) -> list[str]:
        """Return the instructions in lower case; they are read once."""
        with self._lock:
            if kind not in self._texts:
                goals = self._goals[kind]
                count = min(len(goals), MOST_SEARCHED)
                self._texts[kind] = [goals[number].instruction_text.lower() for number in range(count)]
            return self._texts[kind]
