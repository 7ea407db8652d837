"""Which goal an episode in the shop is about, for the environment in process and the one with a browser."""

import contextlib
import functools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from mise_gym.envs.levels import check_split
from mise_gym.errors import ConfigError, MiseError
from mise_gym.registry import unknown_name
from webshop_server.config import default_folder
from webshop_server.engine.buyer import buy
from webshop_server.engine.catalogue import Catalogue
from webshop_server.engine.catalogue_writer import DATABASE
from webshop_server.engine.goal import Goal, goal_from_record
from webshop_server.engine.goal_list import KINDS, GoalKind, split_ranges
from webshop_server.engine.scoring import QUIRKS, Quirks
from webshop_server.errors import ShopError
from webshop_server.past_visit import Errand

ObservationMode = Literal["text", "text_rich", "html", "url"]
EPISODE_OPTIONS: Final = ("game", "goal_index", "goals", "goal", "split")
"""What ``reset(options=...)`` may choose."""
_ONE_OF: Final = ("game", "goal", "goal_index")


class GoalChooser:
    """Chooses the goals of a catalogue, as the options of ``reset`` ask or by chance.

    Args:
        catalogue: The shop.
        goals: Which list, if an episode does not say.
        split: Which split, if an episode does not say.

    Raises:
        UnknownNameError: There is no such list or split.
    """

    def __init__(self, catalogue: Catalogue, goals: str, split: str) -> None:
        self._catalogue = catalogue
        self.kind = check_kind(goals)
        self.split = check_split(split)

    def choose(self, options: Mapping[str, Any], rng: np.random.Generator) -> Errand:
        """Return what to buy; a number is drawn from ``rng`` only if the options leave the goal open.

        Raises:
            ConfigError: The options contradict each other, or there is no such goal.
        """
        given = [name for name in _ONE_OF if name in options]
        if len(given) > 1:
            raise ConfigError(f"The options {given} contradict each other. Give one of them.")
        split = check_split(options.get("split", self.split))
        goal = _goal_in_full(options)
        if goal is not None:
            return Errand(goal=goal, split=split)
        kind, index = check_kind(options.get("goals", self.kind)), options.get("goal_index")
        if "game" in options:
            kind, index = _parse_task_id(options["game"])
        goals = self._catalogue.goals(kind)
        ranges = split_ranges(len(goals))
        if index is None:
            if not ranges[split]:
                raise ConfigError(
                    f"The catalogue has no {kind} goals in the split {split!r}. Choose another split or kind of goals."
                )
            index = goals.draw(ranges[split], float(rng.random()))
        elif not _is_index(index) or not 0 <= index < len(goals):
            raise ConfigError(f"The goal is number {index!r}; the catalogue has {kind} goals from 0 to {len(goals) - 1}.")
        elif "split" in options and index not in ranges[split]:
            raise ConfigError(f"Goal {index} is not in the split {split!r}. Leave the split out.")
        split = next(name for name, numbers in ranges.items() if index in numbers)
        return Errand(goal=goals[int(index)], kind=kind, number=int(index), split=split)


def open_catalogue(folder: Path, quirks: Quirks = "upstream") -> Catalogue:
    """Return the catalogue in a folder; environments of one process share it.

    Raises:
        CatalogueError: The folder is not a catalogue.
    """
    database = folder / DATABASE
    changed = database.stat().st_mtime_ns if database.is_file() else 0
    return _open_catalogue(folder.resolve(), quirks, os.getpid(), changed)


def folder_of(catalogue: str | Path | None) -> Path:
    """Return the folder of a catalogue; ``None`` means the generated one, which is made on first use."""
    return default_folder() if catalogue is None else Path(catalogue)


def check_name(what: str, value: str, known: Sequence[str]) -> str:
    """Return ``value`` if it is known.

    Raises:
        UnknownNameError: It is not.
    """
    if value not in known:
        raise unknown_name(what, value, list(known))
    return value


def check_kind(value: str) -> GoalKind:
    """Return a kind of goals; raises like ``check_name``."""
    return "synthetic" if check_name("kind of goals", value, KINDS) == "synthetic" else "human"


def check_quirks(value: str) -> Quirks:
    """Return a kind of quirks; raises like ``check_name``."""
    return "fixed" if check_name("kind of quirks", value, QUIRKS) == "fixed" else "upstream"


@contextlib.contextmanager
def shop_errors_as_config_errors() -> Iterator[None]:
    """Turn what the shop says about its input into a ``ConfigError``."""
    try:
        yield
    except ShopError as error:
        raise ConfigError(str(error)) from error


def solution_of(shop: Catalogue, goal: Goal, quirks: Quirks) -> list[str]:
    """Return what a buyer who knows the goal in full does.

    Raises:
        MiseError: There is no way to a perfect score.
    """
    try:
        return buy(shop, goal, quirks=quirks)
    except ShopError as error:
        raise MiseError(str(error)) from error


@functools.lru_cache(maxsize=4)
def _open_catalogue(folder: Path, quirks: Quirks, _process: int, _changed: int) -> Catalogue:
    """Open a catalogue once per process (a forked one must not use its parent's connection) and version of it."""
    return Catalogue(folder, quirks)


def _goal_in_full(options: Mapping[str, Any]) -> Goal | None:
    """Return the goal that is given itself, as a dictionary or as a game in JSON."""
    if "goal" in options:
        return goal_from_record(options["goal"])
    game = options.get("game")
    if not isinstance(game, str) or not game.startswith("{"):
        return None
    try:
        return goal_from_record(json.loads(game))
    except ValueError as error:
        raise ConfigError(f"The game is not a goal as JSON: {error}.") from error


def _is_index(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _parse_task_id(game: Any) -> tuple[GoalKind, int]:
    kind, _, number = str(game).rpartition("-")
    if kind not in KINDS or not number.isdecimal():
        raise ConfigError(f"There is no game {game!r}. Give a task_id such as 'human-17', 'synthetic-3', or a goal as JSON.")
    return check_kind(kind), int(number)
