"""ShopConfig: what a served shop can be told."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from webshop_server.engine.generator import default_catalogue
from webshop_server.engine.goal_list import KINDS, GoalKind
from webshop_server.engine.scoring import QUIRKS, Quirks
from webshop_server.errors import ServingError
from webshop_server.purchase import Purchase


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
    idle_seconds: float = 3600.0
    """A visit that was idle for longer is forgotten."""
    on_purchase: Callable[[Purchase], None] | None = None
    """Called once for each visit that ends with a purchase, from a thread of the server."""

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        for name, known in (("goals", KINDS), ("quirks", QUIRKS)):
            if getattr(self, name) not in known:
                raise ServingError(f"The setting {name} is {getattr(self, name)!r}; it must be one of {', '.join(known)}.")
        for name in ("longest_query", "most_steps", "most_visits"):
            if getattr(self, name) < 1:
                raise ServingError(f"The setting {name} is {getattr(self, name)!r}; it must be 1 or more.")
        if not self.idle_seconds > 0:
            raise ServingError(f"The setting idle_seconds is {self.idle_seconds!r}; it must be more than 0.")


def default_folder() -> Path:
    """Return the folder of the generated catalogue, below ``$XDG_CACHE_HOME/mise_gym``; it is made on first use.

    Raises:
        CatalogueError: The folder cannot be written.
    """
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return default_catalogue(Path(base) / "mise_gym" / "webshop")
