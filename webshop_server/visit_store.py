"""VisitStore: the visits that a shop remembers, bounded in number, memory and time."""

import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from webshop_server.errors import VisitError
from webshop_server.past_visit import Ending
from webshop_server.visits import Visit


@dataclass(slots=True)
class _Place:
    """A visit in the store, when it was used last, and what it was counted for then."""

    visit: Visit
    used: float
    num_bytes: int


class VisitStore:
    """Keeps the visits that were used last; one that goes is ended. Threads may use it together.

    Args:
        most: How many are kept.
        most_bytes: How much memory they may take, as ``Visit.num_bytes`` tells it when they are used.
        idle_seconds: For how long one that is not used is kept.
        clock: Returns seconds that never go back.
    """

    def __init__(self, *, most: int, most_bytes: int, idle_seconds: float, clock: Callable[[], float]) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._idle_seconds = idle_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._places: OrderedDict[str, _Place] = OrderedDict()
        self._num_bytes = 0

    def __len__(self) -> int:
        """Return how many visits are kept."""
        return len(self._places)

    @property
    def num_bytes(self) -> int:
        """How much memory they take."""
        return self._num_bytes

    def add(self, make: Callable[[str], Visit]) -> Visit:
        """Keep the visit that ``make`` returns for a new, unguessable id."""
        visit = make(secrets.token_urlsafe(16))
        self._use(visit.id, visit)
        return visit

    def get(self, visit_id: str) -> Visit:
        """Return a visit, which counts as use of it.

        Raises:
            VisitError: It is unknown, or was forgotten.
        """
        visit = self._use(visit_id)
        if visit is None:
            raise VisitError("This visit is unknown, or was idle for too long. Choose something to shop for.")
        return visit

    def close(self) -> None:
        """End all visits."""
        with self._lock:
            gone = [self._forget_oldest() for _ in range(len(self))]
        for visit in gone:
            visit.end("closed")

    def _use(self, visit_id: str, new: Visit | None = None) -> Visit | None:
        with self._lock:
            gone: list[tuple[Visit, Ending]] = [(visit, "idle") for visit in self._forget_idle()]
            place = self._places.pop(visit_id, None)
            visit = new if place is None else place.visit
            if visit is not None:
                self._num_bytes += visit.num_bytes - (0 if place is None else place.num_bytes)
                gone += [(other, "crowded out") for other in self._make_room()]
                self._places[visit_id] = _Place(visit, self._clock(), visit.num_bytes)
        for other, ending in gone:  # without the lock: reporting takes time, and the locks of the visits
            other.end(ending)
        return visit

    def _forget_idle(self) -> Iterator[Visit]:
        oldest = self._clock() - self._idle_seconds
        while self._places and next(iter(self._places.values())).used < oldest:
            yield self._forget_oldest()

    def _make_room(self) -> Iterator[Visit]:
        while self._places and (len(self) >= self._most or self._num_bytes > self._most_bytes):
            yield self._forget_oldest()

    def _forget_oldest(self) -> Visit:
        _, place = self._places.popitem(last=False)
        self._num_bytes -= place.num_bytes
        return place.visit
