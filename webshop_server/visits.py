"""Visits of shoppers: where each of them has been.

A visit is a tree. Every page is a step: the action that led to it from another step; step 0 is the search bar. A page follows
from the goal and the actions on the way to its step, so a step is two small values, the engine's session is made again for every
request, and no thread ever sees another's. Browsers may reload, go back, and open two pages side by side: each page stays what
it was, and the same action from the same page is the same step.
"""

import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from webshop_server.config import ShopConfig
from webshop_server.engine.session import Outcome, Session, Shop
from webshop_server.errors import VisitError
from webshop_server.past_visit import Ending, Errand, PastVisit, Turn

_VISIT_BYTES: Final = 4000
_STEP_BYTES: Final = 300


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
        self._last_step = 0
        self._is_reported = False
        self.num_bytes = _VISIT_BYTES + sys.getsizeof(errand.goal.instruction_text)
        """Memory that the visit takes, about."""

    @property
    def is_over(self) -> bool:
        """Whether something was bought."""
        return self._purchase_step is not None

    def look(self, step: int) -> Arrival:
        """Return the page of a step.

        Raises:
            VisitError: There is no such step.
        """
        arrival = self._arrive(step)
        self._last_step = step
        return arrival

    def _arrive(self, step: int) -> Arrival:
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
            before = self._arrive(step)
            outcome = before.session.act(action)
            if not outcome.is_valid:
                return Arrival(step=step, turn=before.turn, session=before.session, outcome=outcome)
            number = self._last_step = self._add(step, action)
            if outcome.is_done:
                self._purchase_step = number
                self._report(number, "purchase")
            return Arrival(step=number, turn=before.turn + 1, session=before.session, outcome=outcome)

    def end(self, ending: Ending) -> None:
        """Report the way to the page that was shown last, unless something was bought or nothing was done."""
        with self._lock:
            if not self._is_reported and self._last_step > 0:
                self._report(self._last_step, ending)

    def _add(self, step: int, action: str) -> int:
        if len(self._steps) > self._config.most_steps:
            raise VisitError(f"This visit has led to {self._config.most_steps} pages, which is the limit. Start another one.")
        self._steps.append((step, action))
        self._numbers[step, action] = len(self._steps) - 1
        self.num_bytes += _STEP_BYTES + sys.getsizeof(action)
        return len(self._steps) - 1

    def _report(self, step: int, ending: Ending) -> None:
        self._is_reported = True
        if self._config.on_end is not None:
            self._config.on_end(PastVisit(errand=self.errand, turns=tuple(self._turns_to(step)), ending=ending))

    def _turns_to(self, step: int) -> Iterator[Turn]:
        session = self._new_session()
        for action in self._actions_to(step):
            before = session.show("text")
            reward = session.act(action).reward
            yield Turn(observation=before, action=action, reward=reward, next_observation=session.show("text"))

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
