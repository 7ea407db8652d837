"""Visits of shoppers: where each of them has been, and the store that keeps a bounded number of visits.

A visit is a tree. Every page is a step: the action that led to it from another step; step 0 is the search bar. A page follows
from the goal and the actions on the way to its step, so a step is two small values, the engine's session is made again for every
request, and no thread ever sees another's. Browsers may reload, go back, and open two pages side by side: each page stays what
it was, and the same action from the same page is the same step.
"""

import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from webshop_server.config import ShopConfig
from webshop_server.engine.session import Outcome, Session, Shop
from webshop_server.errors import VisitError
from webshop_server.purchase import Errand, Purchase, Turn


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A page of a visit."""

    step: int
    """The number of the page in the visit."""
    turn: int
    """How many actions led to it."""
    session: Session
    """The shopper on that page."""
    outcome: Outcome
    """What the last action led to; if it was not valid, the page is the one that it was tried on."""


class Visit:
    """One shopper's visit. Threads may use it together.

    Args:
        visit_id: Stands in addresses.
        errand: What to buy.
        shop: Where products and scores come from.
        config: Settings of the shop.
    """

    def __init__(self, visit_id: str, errand: Errand, shop: Shop, config: ShopConfig) -> None:
        self.id = visit_id
        self.errand = errand
        self._shop = shop
        self._config = config
        self._lock = threading.Lock()
        self._steps: list[tuple[int, str]] = [(-1, "")]
        self._numbers: dict[tuple[int, str], int] = {}
        self._purchase_step: int | None = None

    @property
    def is_over(self) -> bool:
        """Whether something was bought."""
        return self._purchase_step is not None

    def look(self, step: int) -> Arrival:
        """Return the page of a step.

        Raises:
            VisitError: There is no such step.
        """
        actions = self._actions_to(step)
        session, outcome = self._new_session(), Outcome(is_valid=True)
        for action in actions:
            outcome = session.act(action)
        return Arrival(step=step, turn=len(actions), session=session, outcome=outcome)

    def act(self, step: int, action: str) -> Arrival:
        """Apply an action on the page of a step, and return the page that it leads to.

        The same action again leads to the same step. Once something was bought, every new action leads to that purchase.

        Raises:
            VisitError: There is no such step, or the visit has led to too many pages.
        """
        with self._lock:
            known = self._numbers.get((step, action), self._purchase_step)
            if known is not None:
                self._actions_to(step)
                return self.look(known)
            before = self.look(step)
            outcome = before.session.act(action)
            if not outcome.is_valid:
                return Arrival(step=step, turn=before.turn, session=before.session, outcome=outcome)
            number = self._add(step, action)
            if outcome.is_done:
                self._purchase_step = number
                self._report(number)
            return Arrival(step=number, turn=before.turn + 1, session=before.session, outcome=outcome)

    def _add(self, step: int, action: str) -> int:
        if len(self._steps) > self._config.most_steps:
            raise VisitError(f"This visit has led to {self._config.most_steps} pages, which is the limit. Start another one.")
        self._steps.append((step, action))
        self._numbers[step, action] = len(self._steps) - 1
        return len(self._steps) - 1

    def _report(self, step: int) -> None:
        if self._config.on_purchase is not None:
            self._config.on_purchase(self._purchase(step))

    def _purchase(self, step: int) -> Purchase:
        session, turns, score = self._new_session(), [], 0.0
        for action in self._actions_to(step):
            before = session.show("text")
            score = session.act(action).reward
            turns.append(Turn(observation=before, action=action, reward=score, next_observation=session.show("text")))
        return Purchase(errand=self.errand, turns=tuple(turns), score=score)

    def _actions_to(self, step: int) -> list[str]:
        if not 0 <= step < len(self._steps):
            raise VisitError(f"This visit has no page {step}. Go back to its last page.")
        actions = []
        while step > 0:
            step, action = self._steps[step]
            actions.append(action)
        return actions[::-1]

    def _new_session(self) -> Session:
        settings = self._config
        return Session(
            self._shop,
            self.errand.goal,
            self.errand.session_id,
            show_attributes=settings.show_attributes,
            quirks=settings.quirks,
        )


class VisitStore:
    """Keeps the visits that were used last. Threads may use it together.

    Args:
        most: How many are kept.
        idle_seconds: For how long one that is not used is kept.
        clock: Returns seconds that never go back.
    """

    def __init__(self, most: int, idle_seconds: float, clock: Callable[[], float]) -> None:
        self._most = most
        self._idle_seconds = idle_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._visits: OrderedDict[str, tuple[float, Visit]] = OrderedDict()

    def __len__(self) -> int:
        """Return how many visits are kept."""
        return len(self._visits)

    def add(self, make: Callable[[str], Visit]) -> Visit:
        """Keep the visit that ``make`` returns for a new, unguessable id."""
        visit = make(secrets.token_urlsafe(16))
        with self._lock:
            self._forget_idle()
            while len(self._visits) >= self._most:
                self._visits.popitem(last=False)
            self._visits[visit.id] = (self._clock(), visit)
        return visit

    def get(self, visit_id: str) -> Visit:
        """Return a visit, which counts as use of it.

        Raises:
            VisitError: It is unknown, or was forgotten.
        """
        with self._lock:
            self._forget_idle()
            if visit_id not in self._visits:
                raise VisitError("This visit is unknown, or was idle for too long. Choose something to shop for.")
            _, visit = self._visits.pop(visit_id)
            self._visits[visit_id] = (self._clock(), visit)
        return visit

    def _forget_idle(self) -> None:
        oldest = self._clock() - self._idle_seconds
        while self._visits and next(iter(self._visits.values()))[0] < oldest:
            self._visits.popitem(last=False)
