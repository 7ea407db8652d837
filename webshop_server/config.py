"""ShopConfig: what a served shop can be told."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from webshop_server.engine.generator import default_catalogue
from webshop_server.engine.goal_list import KINDS, GoalKind
from webshop_server.engine.scoring import QUIRKS, Quirks
from webshop_server.errors import ServingError
from webshop_server.hosts import is_host_name
from webshop_server.past_visit import PastVisit


@dataclass(frozen=True, kw_only=True)
class ShopConfig:
    """Settings of a served shop.

    Raises:
        ServingError: A name is unknown, or a number is too small.
    """

    catalogue: Path
    """Folder of the catalogue."""
    goals: GoalKind = "human"
    """Which goals the start page lists first."""
    show_attributes: bool = False
    """Whether products have a page with their hidden attributes."""
    quirks: Quirks = "upstream"
    """"upstream" is WebShop with all its flaws, "fixed" repairs them."""
    show_score: bool = True
    """Whether a shopper is told the score of the purchase, and why."""
    seed: int | None = None
    """Repeats the draws of "Surprise me"; ``None`` draws anew each time."""
    longest_query: int = 500
    """Letters that a search may have."""
    most_steps: int = 1000
    """Pages that one visit may lead to."""
    most_visits: int = 10_000
    """Visits that are kept; the one that has been idle longest goes first."""
    most_bytes: int = 200_000_000
    """Memory that visits may take, about; again the one that has been idle longest goes first."""
    idle_seconds: float = 3600.0
    """A visit that was idle for longer is forgotten."""
    on_end: Callable[[PastVisit], None] | None = None
    """Called once for each visit that is over and led to more than its first page, from a thread of the server."""
    host_names: Sequence[str] = ()
    """Names, besides localhost, under which browsers may ask for the shop. Others are refused, so that no site of somebody else
    can have its name stand for this machine and read the shop's pages. A server adds the address that it listens on."""

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        for name, known in (("goals", KINDS), ("quirks", QUIRKS)):
            if getattr(self, name) not in known:
                raise ServingError(f"The setting {name} is {getattr(self, name)!r}; it must be one of {', '.join(known)}.")
        for name in ("longest_query", "most_steps", "most_visits", "most_bytes"):
            if getattr(self, name) < 1:
                raise ServingError(f"The setting {name} is {getattr(self, name)!r}; it must be 1 or more.")
        for name in self.host_names:
            if not is_host_name(name):
                raise ServingError(f"The host name is {name!r}; it must be a bare name or address, such as shop.example.")
        if not self.idle_seconds > 0:
            raise ServingError(f"The setting idle_seconds is {self.idle_seconds!r}; it must be more than 0.")


def default_folder() -> Path:
    """Return the folder of the generated catalogue, below ``$XDG_CACHE_HOME/mise_gym``; it is made on first use.

    Raises:
        CatalogueError: The folder cannot be written.
    """
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return default_catalogue(Path(base) / "mise_gym" / "webshop")
