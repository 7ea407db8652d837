"""WebShopEnv: a shop in which the agent searches, looks, chooses and buys what an instruction asks for."""

import contextlib
import functools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

from mise_gym.envs.base import RewardMode, Scene, Task, TextEnv
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
from webshop_server.engine.session import MODES, Outcome, Session
from webshop_server.errors import ShopError

ObservationMode = Literal["text", "text_rich", "html", "url"]
_EPISODE_OPTIONS: Final = ("game", "goal", "goal_index")


class WebShopEnv(TextEnv):
    """An online shop: search, look at products, choose options and buy what an instruction asks for.

    ## Description
    The task of WebShop, with its pages, its ranking and its purchase score, without Java and without a server. An instruction
    says what to buy: a kind of product with certain attributes and options below a price. Without ``catalogue`` the shop has
    1,000 generated products, which are made on first use in a second; ``mise-gym webshop build`` imports WebShop's own files or
    generates up to two million products.

    ## Observation
    The page, as ``observation_mode`` says: ``text`` (one line with ``[SEP]`` between its pieces), ``text_rich`` (buttons are
    marked, clicked ones as clicked), ``html`` or ``url`` (only the address).

    ## Actions
    ``search[words]`` and ``click[name]``, where the name is a button, a product's number or an option, in small or capital
    letters. Everything else, and a click on what is not there, changes nothing, costs a turn and sets ``info["valid_action"]``
    to ``False``. Words to search for are never read as syntax.

    ## Rewards
    The purchase score in [0, 1] when something is bought: the share of attributes, options and price limit that fit, times a
    factor for the type of product. Nothing before, so that ``reward_mode="sparse"`` and ``"dense"`` are the same here.

    ## Episode end
    Terminated when something is bought. Truncated after ``max_turns`` turns.

    ## Information
    Always ``progress`` (the purchase score), ``success`` (whether it is 1), ``score``, ``max_score``, ``turn``, ``task`` (the
    instruction), ``split``, ``task_id`` and ``valid_action``. On request (``infos=``): ``admissible_commands`` (every click, and
    ``search[...]`` where one can search), ``clickables``, ``url``, ``score_parts`` (what the purchase score is made of; empty
    before) and ``walkthrough`` (the scripted buyer's actions from the start).

    ## Arguments
    - ``catalogue``: folder of a catalogue; ``None`` means the generated one, kept below ``$XDG_CACHE_HOME/mise_gym``.
    - ``goals``: "human" (instructions as people write them) or "synthetic" (one for each combination of options).
    - ``split``: the split that ``reset`` draws from: of all goals the first 500 are "test", the next 1,000 "valid", the others
      "train"; with fewer than 4,000 goals, "test" and "valid" are a quarter each at most.
    - ``observation_mode``: see above.
    - ``show_attributes``: whether products have a page with their hidden attributes.
    - ``quirks``: "upstream" is WebShop with all its flaws, so that results can be compared. "fixed" repairs them: one searches
      only where the search bar is; ``Next >`` ends with the results; ``< Prev`` does not go astray when the query has the name
      of a page in it; options must match exactly and under their name; colours are whole words; the product's type is not
      judged wrong by its name when query and category are right.
    - ``max_turns``, ``reward_mode``, ``infos``, ``render_mode``: as in every text environment.

    ``reset(options=...)`` knows ``goal_index`` (a number in the list of goals of all splits), ``goals`` and ``split`` (for this
    episode), ``goal`` (a goal given in full, as in WebShop's list of goals) and ``game`` (a ``task_id``). Of ``goal_index``,
    ``goal`` and ``game`` one may be given.

    ## Seeding
    The seed decides which goal is drawn; synthetic goals with rare attributes are drawn more often. There is no chance in the
    shop: the same goal and the same actions give the same transcript. Prices and price limits that WebShop draws anew in each
    process depend on the product here.

    ## Version history
    - v0: first version.

    ## References
    - Yao et al., "WebShop: Towards Scalable Real-World Web Interaction with Grounded Language Agents", arXiv:2207.01206.
    """

    available_infos: ClassVar[tuple[str, ...]] = ("admissible_commands", "clickables", "url", "score_parts", "walkthrough")
    known_options: ClassVar[tuple[str, ...]] = ("game", "goal_index", "goals", "goal", "split")

    def __init__(  # noqa: PLR0913  # every argument is a keyword of gym.make
        self,
        *,
        catalogue: str | Path | None = None,
        goals: GoalKind = "human",
        split: str = "train",
        observation_mode: ObservationMode = "text",
        show_attributes: bool = False,
        quirks: Quirks = "upstream",
        max_turns: int | None = 100,
        reward_mode: RewardMode = "sparse",
        infos: Sequence[str] = (),
        render_mode: str | None = None,
    ) -> None:
        super().__init__(max_turns=max_turns, reward_mode=reward_mode, infos=infos, render_mode=render_mode)
        self.split = check_split(split)
        self.observation_mode = _check("observation mode", observation_mode, MODES)
        self.goals = _check_kind(goals)
        self.quirks: Quirks = "fixed" if _check("kind of quirks", quirks, QUIRKS) == "fixed" else "upstream"
        self.show_attributes = show_attributes
        with _as_config_error():
            self._shop = open_catalogue(default_folder() if catalogue is None else Path(catalogue), self.quirks)
        self._session: Session | None = None
        self._outcome = Outcome(is_valid=True)

    def expert_actions(self) -> list[str]:
        """Return what a buyer who knows the goal in full does, from the start of the current episode.

        Raises:
            MiseError: There is no episode, or there is no way to a perfect score: some goals of the original data have none.
        """
        try:
            return buy(self._shop, self._shopping().goal, quirks=self.quirks)
        except ShopError as error:
            raise MiseError(str(error)) from error

    def close(self) -> None:
        """Forget the episode; a second call does nothing."""
        super().close()
        self._session = None

    def _start(self, options: Mapping[str, Any]) -> tuple[Task, Scene]:
        with _as_config_error():
            goal, task_id, split = self._choose(options)
        session_id = task_id.rpartition("-")[2] if task_id.startswith(KINDS) else "goal"
        self._session = Session(self._shop, goal, session_id, show_attributes=self.show_attributes, quirks=self.quirks)
        self._outcome = Outcome(is_valid=True)
        return Task(goal=goal.instruction_text, task_id=task_id, split=split), self._scene_now()

    def _act(self, action: str) -> Scene:
        self._outcome = self._shopping().act(action)
        return self._scene_now()

    def _extra(self, name: str) -> Any:
        match name:
            case "admissible_commands":
                return self._shopping().actions()
            case "clickables":
                return self._shopping().clickables
            case "url":
                return self._shopping().url
            case "score_parts":
                return self._outcome.parts or {}
        return self.expert_actions()

    def _choose(self, options: Mapping[str, Any]) -> tuple[Goal, str, str]:
        """Return a goal, its name and its split."""
        given = [name for name in _EPISODE_OPTIONS if name in options]
        if len(given) > 1:
            raise ConfigError(f"The options {given} contradict each other. Give one of them.")
        split = check_split(options.get("split", self.split))
        if "goal" in options:
            goal = goal_from_record(options["goal"])
            return goal, goal.to_json(), split
        kind, index = _check_kind(options.get("goals", self.goals)), options.get("goal_index")
        if "game" in options:
            game = options["game"]
            if isinstance(game, str) and game.startswith("{"):
                goal = _goal_from_json(game)
                return goal, goal.to_json(), split
            kind, index = _parse_task_id(game)
        goals = self._shop.goals(kind)
        ranges = split_ranges(len(goals))
        if index is None:
            if not ranges[split]:
                raise ConfigError(
                    f"The catalogue has no {kind} goals in the split {split!r}. Choose another split or kind of goals."
                )
            index = goals.draw(ranges[split], float(self.np_random.random()))
        elif not _is_index(index) or not 0 <= index < len(goals):
            raise ConfigError(f"The goal is number {index!r}; the catalogue has {kind} goals from 0 to {len(goals) - 1}.")
        elif "split" in options and index not in ranges[split]:
            raise ConfigError(f"Goal {index} is not in the split {split!r}. Leave the split out.")
        split = next(name for name, numbers in ranges.items() if index in numbers)
        return goals[int(index)], f"{kind}-{index}", split

    def _scene_now(self) -> Scene:
        outcome = self._outcome
        return Scene(
            text=self._shopping().show(self.observation_mode),
            score=outcome.reward,
            max_score=1.0,
            progress=outcome.reward,
            terminated=outcome.is_done,
            valid_action=outcome.is_valid,
        )

    def _shopping(self) -> Session:
        if self._session is None:
            raise MiseError("There is no episode. Call reset() first.")
        return self._session


def open_catalogue(folder: Path, quirks: Quirks = "upstream") -> Catalogue:
    """Return the catalogue in a folder; environments of one process share it.

    Raises:
        CatalogueError: The folder is not a catalogue.
    """
    database = folder / DATABASE
    changed = database.stat().st_mtime_ns if database.is_file() else 0
    return _open_catalogue(folder.resolve(), quirks, os.getpid(), changed)


@functools.lru_cache(maxsize=4)
def _open_catalogue(folder: Path, quirks: Quirks, _process: int, _changed: int) -> Catalogue:
    """Open a catalogue once per process (a forked one must not use its parent's connection) and version of it."""
    return Catalogue(folder, quirks)


@contextlib.contextmanager
def _as_config_error() -> Iterator[None]:
    try:
        yield
    except ShopError as error:
        raise ConfigError(str(error)) from error


def _check(what: str, value: str, known: Sequence[str]) -> str:
    if value not in known:
        raise unknown_name(what, value, list(known))
    return value


def _check_kind(value: str) -> GoalKind:
    return "synthetic" if _check("kind of goals", value, KINDS) == "synthetic" else "human"


def _is_index(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _parse_task_id(game: Any) -> tuple[GoalKind, int]:
    kind, _, number = str(game).rpartition("-")
    if kind not in KINDS or not number.isdecimal():
        raise ConfigError(f"There is no game {game!r}. Give a task_id such as 'human-17', 'synthetic-3', or a goal as JSON.")
    return _check_kind(kind), int(number)


def _goal_from_json(text: str) -> Goal:
    try:
        return goal_from_record(json.loads(text))
    except ValueError as error:
        raise ConfigError(f"The game is not a goal as JSON: {error}.") from error
