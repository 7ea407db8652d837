"""Goals of a catalogue, in WebShop's order: people's instructions, and synthetic ones that are made when they are asked for."""

import json
import sqlite3
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import numpy as np
import numpy.typing as npt

from webshop_server.engine.goal import Goal, goal_from_record
from webshop_server.engine.listing import Instruction, synthetic_goal
from webshop_server.engine.product import Product

GoalKind = Literal["human", "synthetic"]
KINDS: Final = ("human", "synthetic")
SPLITS: Final = ("train", "valid", "test")


class GoalList(Protocol):
    """Goals by number, from 0."""

    def __len__(self) -> int:
        """Return how many there are."""

    def __getitem__(self, number: int) -> Goal:
        """Return one."""

    def draw(self, of: range, fraction: float) -> int:
        """Return a number out of ``of``, chosen by weight with ``fraction`` in [0, 1)."""


class HumanGoals:
    """Goals from instructions by people; each is drawn as often as any other.

    Args:
        database: The catalogue's database.
        folder: The catalogue's folder.
    """

    def __init__(self, database: sqlite3.Connection, folder: Path) -> None:
        self._database = database
        self._order = _load(folder, "human_order")

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._order)

    def __getitem__(self, number: int) -> Goal:
        """Return one."""
        row = int(self._order[number]) + 1
        record = self._database.execute("SELECT record FROM human WHERE number = ?", (row,)).fetchone()[0]
        return goal_from_record(json.loads(record))

    def draw(self, of: range, fraction: float) -> int:
        """Return a number out of ``of``."""
        return of[int(fraction * len(of))]


class SyntheticGoals:
    """Goals from an instruction and every combination of a product's options; rare attributes are drawn more often.

    Args:
        database: The catalogue's database.
        folder: The catalogue's folder.
    """

    def __init__(self, database: sqlite3.Connection, folder: Path) -> None:
        self._database = database
        self._order, self._starts = _load(folder, "synthetic_order"), _load(folder, "synthetic_starts")
        self._products, self._row_weights = _load(folder, "synthetic_products"), _load(folder, "synthetic_row_weights")
        self._weights = _load(folder, "synthetic_weights")

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._order)

    def __getitem__(self, number: int) -> Goal:
        """Return one."""
        place = int(self._order[number])
        row = int(np.searchsorted(self._starts, place, side="right")) - 1
        product_number = int(self._products[row])
        query = "SELECT record, text, attributes FROM product JOIN synthetic ON product = number WHERE number = ?"
        record, text, attributes = self._database.execute(query, (product_number,)).fetchone()
        instruction = Instruction(text=text, attributes=json.loads(attributes))
        return synthetic_goal(
            Product.from_json(record), instruction, place - int(self._starts[row]), float(self._row_weights[row])
        )

    def draw(self, of: range, fraction: float) -> int:
        """Return a number out of ``of``, by weight."""
        below = float(self._weights[of.start - 1]) if of.start else 0.0
        wanted = below + fraction * (float(self._weights[of.stop - 1]) - below)
        return min(max(int(np.searchsorted(self._weights, wanted, side="right")), of.start), of.stop - 1)


def split_ranges(num_goals: int) -> dict[str, range]:
    """Return which goals belong to which split.

    The first 500 are for testing, the next 1,000 for validation and the others for training, as in the paper on WebShop. With
    fewer than 4,000 goals testing and validation get a quarter at most.

    Example:
        >>> split_ranges(12087)["valid"], split_ranges(8)
        (range(500, 1500), {'train': range(4, 8), 'valid': range(2, 4), 'test': range(0, 2)})
    """
    num_test = min(500, num_goals // 4)
    num_valid = min(1000, num_goals // 4)
    return {
        "train": range(num_test + num_valid, num_goals),
        "valid": range(num_test, num_test + num_valid),
        "test": range(num_test),
    }


def _load(folder: Path, name: str) -> npt.NDArray[Any]:
    path = folder / f"{name}.npy"
    values: npt.NDArray[Any] = np.load(path, mmap_mode="r")
    return values.view(np.ndarray)
