"""PastVisit: a visit that is over, turn by turn; what a recorder is handed."""

from dataclasses import dataclass
from typing import Literal

from webshop_server.engine.goal import Goal
from webshop_server.engine.goal_list import GoalKind

Ending = Literal["purchase", "idle", "crowded out", "closed"]
"""Why a visit is over: something was bought, the shopper was idle for too long, others needed the room, the shop closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """A goal and where it is from."""

    goal: Goal
    kind: GoalKind | None = None
    """The list that it is in; ``None`` if it was given in full."""
    number: int | None = None
    """Its number in that list, from 0."""
    split: str = ""
    """The split of that list that it belongs to."""

    @property
    def session_id(self) -> str:
        """How the shopper is called in the addresses of WebShop's pages, as in ``mise/WebShop-v0``."""
        return "goal" if self.number is None else str(self.number)

    @property
    def task_id(self) -> str:
        """The name of the task in ``mise/WebShop-v0``, such as "human-17"; the goal as JSON if it was given in full."""
        return self.goal.to_json() if self.kind is None else f"{self.kind}-{self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One action of a shopper."""

    observation: str
    """The page before, as the text that an agent sees."""
    action: str
    reward: float
    next_observation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PastVisit:
    """A visit from its first page to its last, without the ways that the shopper took back."""

    errand: Errand
    turns: tuple[Turn, ...]
    ending: Ending

    @property
    def score(self) -> float:
        """The purchase score, in [0, 1]; 0 if nothing was bought."""
        return self.turns[-1].reward
