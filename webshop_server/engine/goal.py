"""Goal: what the shopper is asked to buy."""

import json
from collections.abc import Mapping, Sequence, ValuesView
from dataclasses import dataclass
from typing import Any, Final

from webshop_server.errors import GoalError

NO_LIMIT: Final = 1_000_000.0
"""The price limit of a goal that names none."""
_TEXTS: Final = ("asin", "category", "query", "name", "product_category", "instruction_text")


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A product to buy, what about it matters, and the words in which it is asked for."""

    asin: str
    """The product that the instruction was written for."""
    category: str
    query: str
    name: str
    product_category: str
    instruction_text: str
    attributes: Sequence[str]
    price_upper: float
    """Highest price in dollars; ``NO_LIMIT`` if the instruction names none."""
    goal_options: Sequence[str] | Mapping[str, str]
    """Values that must be chosen (in instructions by people), or name -> value (in synthetic ones)."""
    weight: float = 1.0
    """How often the goal is drawn, relative to others."""

    @property
    def options(self) -> Sequence[str | tuple[str, str]]:
        """The options as they are scored: values, or pairs of name and value."""
        return list(self.goal_options.items()) if isinstance(self.goal_options, Mapping) else self.goal_options

    def to_record(self) -> dict[str, Any]:
        """Return a JSON-serialisable dictionary that ``goal_from_record`` takes."""
        options = dict(self.goal_options) if isinstance(self.goal_options, Mapping) else list(self.goal_options)
        values = {name: getattr(self, name) for name in self.__slots__}
        return {**values, "attributes": list(self.attributes), "goal_options": options}

    def to_json(self) -> str:
        """Return one line of JSON, the same for equal goals."""
        return json.dumps(self.to_record(), sort_keys=True)


def goal_from_record(record: Any) -> Goal:
    """Make a goal of a dictionary, such as an entry of WebShop's list of goals.

    Raises:
        GoalError: Something is missing or of the wrong kind.
    """
    if not isinstance(record, Mapping):
        raise GoalError(f"The goal is {record!r}; it must be an object with {', '.join(Goal.__slots__)}.")
    unknown = sorted(set(record) - set(Goal.__slots__))
    missing = [name for name in Goal.__slots__ if name not in record and name != "weight"]
    if unknown or missing:
        raise GoalError(f"The goal has unknown entries {unknown} and lacks {missing}; it needs {', '.join(Goal.__slots__)}.")
    for name in _TEXTS:
        if not isinstance(record[name], str):
            raise GoalError(f"The goal's {name} is {record[name]!r}; it must be text.")
    if not _is_list_of_text(record["attributes"]):
        raise GoalError(f"The goal's attributes are {record['attributes']!r}; they must be a list of texts.")
    options = record["goal_options"]
    if not _is_list_of_text(options.values() if isinstance(options, Mapping) else options):
        raise GoalError(f"The goal's goal_options are {options!r}; they must be a list of texts or an object of texts.")
    price_upper, weight = record["price_upper"], record.get("weight", 1.0)
    for value in (price_upper, weight):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise GoalError(f"The goal's price_upper and weight are {price_upper!r} and {weight!r}; they must be numbers.")
    return Goal(**{**record, "weight": weight})


def _is_list_of_text(values: Any) -> bool:
    is_list = isinstance(values, Sequence | ValuesView) and not isinstance(values, str)
    return is_list and all(isinstance(value, str) for value in values)
