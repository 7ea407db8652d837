"""``mise-gym list``: everything that can be asked for by name."""

import argparse
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from mise_gym.envs.catalog import ENVS
from mise_gym.envs.levels import LEVELS
from mise_gym.envs.science.tasks import TASKS
from mise_gym.registry import Registry
from mise_gym.rewards.catalog import CALIBRATORS, JUDGES


def environments() -> dict[str, str]:
    """Return the ids of this package with the first sentence of each class docstring and the arguments that the id fixes."""
    summaries = _summaries(Registry("environment", {row.id: row.entry_point for row in ENVS}))
    for row in ENVS:
        fixed = ", ".join(f"{name}={value}" for name, value in row.kwargs.items())
        summaries[row.id] += f" ({fixed})" if fixed else ""
    return summaries


def judges() -> dict[str, str]:
    """Return the judges with the first sentence of each class docstring."""
    return _summaries(JUDGES)


def calibrators() -> dict[str, str]:
    """Return the calibrators with the first sentence of each class docstring."""
    return _summaries(CALIBRATORS)


def levels() -> dict[str, str]:
    """Return the short names of difficulties of cooking games."""
    return dict(LEVELS)


def tasks() -> dict[str, str]:
    """Return the ids with one task of ScienceWorld each."""
    return {task.env_id: f"ScienceWorld {task.id}: {task.name}, {task.variations} variations" for task in TASKS}


SECTIONS: Final[Mapping[str, Callable[[], dict[str, str]]]] = {
    "environments": environments,
    "judges": judges,
    "calibrators": calibrators,
    "levels": levels,
    "tasks": tasks,
}
"""What can be listed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``mise-gym list``."""
    parser.add_argument("section", nargs="?", choices=list(SECTIONS), help="what to list (default: everything but the tasks)")
    parser.add_argument("--json", action="store_true", help="print one JSON object: section -> name -> description")


def run(arguments: argparse.Namespace) -> int:
    """Print the tables."""
    wanted = [arguments.section] if arguments.section else [name for name in SECTIONS if name != "tasks"]
    tables = {name: SECTIONS[name]() for name in wanted}
    print(json.dumps(tables, indent=2) if arguments.json else _render(tables))
    if not (arguments.json or arguments.section):
        print("\nEvery task of ScienceWorld has an id of its own as well: mise-gym list tasks")
    return 0


def _render(tables: Mapping[str, Mapping[str, str]]) -> str:
    blocks = []
    for title, table in tables.items():
        width = max(map(len, table))
        rows = [f"  {name:<{width}}  {summary}" for name, summary in table.items()]
        blocks.append("\n".join([title.capitalize(), *rows]))
    return "\n\n".join(blocks)


def _summaries(table: Registry) -> dict[str, str]:
    return {name: _first_sentence(table.load(name)) for name in sorted(table)}


def _first_sentence(thing: Any) -> str:
    return " ".join((thing.__doc__ or "").strip().partition("\n\n")[0].split())
