"""Purchases in the shop, with searches to choose from instead of free ones."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import gymnasium as gym

from mise_gym.envs.webshop_goals import check_kind, check_quirks, folder_of, open_catalogue
from mise_gym.train.demonstrations import LabelledRecorder
from mise_gym.train.rollout import TextEnvironment
from mise_gym.train.task_sets.offers import OfferedCommands
from mise_gym.train.tasks import Split, TaskSet
from webshop_server.engine.goal_list import split_ranges

_SEARCH: Final = "search[...]"
_BACK: Final = "click[back to search]"
_NEXT: Final = "click[next >]"
_BUY: Final = "click[buy now]"
_PAGES: Final = 5
"""How far the expert turns pages."""
_LIMIT: Final = re.compile(r",? (?:and )?(?:the )?price (?:lower|less) than.*$")
_FURNITURE: Final = frozenset(
    ("webshop", "search", "back to search", "< prev", "next >", "rating: n.a.", "description", "features", "reviews", "buy now")
)
"""What stands on pages, in lower case, and tells nothing."""
_FILLERS: Final = frozenset(
    re.findall(
        r"\S+",
        """a am an and are as at be buy can color colour come comes find for from get give have help i i'd i'm in is it like look
    looking me my need of on one please points price probably should show size some something take that the them these this to
    under want which with would you""",
    )
)
"""Words of an instruction that say nothing about the product."""


@dataclass(frozen=True, kw_only=True)
class WebShopConfig:
    """In which shop ``--env webshop`` buys, and what."""

    catalogue: str | None = None
    """Folder of a catalogue; none means the generated one."""
    goals: Literal["human", "synthetic"] = "human"
    """Instructions as people write them, or one for each combination of options."""
    quirks: Literal["upstream", "fixed"] = "fixed"
    """Whether the shop behaves as WebShop does, or with its flaws repaired."""

    def __post_init__(self) -> None:
        """Check the names."""
        check_kind(self.goals)
        check_quirks(self.quirks)


def queries(instruction: str) -> list[str]:
    """Return searches that the words of an instruction suggest: all of them, the thing alone, and the thing with each wish.

    Example:
        >>> queries("i'm looking for desk lamps that are dimmable. i'd take us plug for the plug, and price lower than 9 dollars")
        ['desk lamps dimmable us plug plug', 'desk lamps', 'desk lamps dimmable', 'desk lamps us plug', 'desk lamps plug']
    """
    phrases = list(_phrases(_LIMIT.sub("", instruction.lower())))
    if not phrases:
        return [instruction.lower()]
    thing, *wishes = phrases
    return list(dict.fromkeys([" ".join(phrases), thing, *(f"{thing} {wish}" for wish in wishes)]))


def _phrases(text: str) -> Iterator[str]:
    """Yield the runs of words that mean something."""
    run: list[str] = []
    for word in [*re.findall(r"[\w'%&/.-]*\w|[,:;.]", text), ","]:
        if word not in _FILLERS and word not in ",:;.":
            run.append(word)
        elif run:
            yield " ".join(run)
            run = []


class ShoppingRecorder(LabelledRecorder):
    """The plan is that of a buyer who knows the product, with the offered search that brings it up first.

    A wrong choice on the product's own page is repaired by choosing all options again, every other mistake by a new search.
    """

    def __init__(self, env: TextEnvironment, options: Mapping[str, Any], seed: int | None = None) -> None:
        searches = env.reset(options=dict(options))[1]["admissible_commands"]
        solution = env.unwrapped.expert_actions()  # type: ignore[attr-defined]  # part of every TextEnv
        self._purchase = [action for action in solution[1:] if action != _NEXT]
        ways = [_way(env, options, search, self._purchase[0]) for search in searches]
        super().__init__(env, options, seed)
        way = min(filter(None, ways), key=len, default=[])
        self._solution = way + self._purchase if way else []
        self._left = list(self._solution)

    @property
    def plan(self) -> list[str]:
        """What the buyer would still do; empty when something is bought."""
        return [] if self.is_done else list(self._left)

    def follow(self, action: str, plan: list[str]) -> None:  # noqa: ARG002  # what was done is enough
        """Note what is done, and start again where something went wrong."""
        if self.is_done:
            return
        choices = self._left[:-1] if self._is_on_product_page else self._left[:1]
        if action in choices:
            self._left.remove(action)
        elif action == self._purchase[0] or (self._is_on_product_page and _BUY in self.commands):
            self._left = self._purchase[1:]
        else:
            searches = any(command.startswith("search[") for command in self.commands)
            self._left = [*([] if searches else [_BACK]), *self._solution]

    @property
    def _is_on_product_page(self) -> bool:
        return len(self._left) < len(self._purchase)


def _way(env: TextEnvironment, options: Mapping[str, Any], search: str, product: str) -> list[str]:
    """Return the search and the turns of pages after which a product can be clicked; empty if it is not among the results."""
    env.reset(options=dict(options))
    way = [search]
    while len(way) <= _PAGES:
        commands = env.step(way[-1])[-1]["admissible_commands"]
        if product in commands:
            return way
        if _NEXT not in commands:
            break
        way.append(_NEXT)
    return []


class ShoppingTasks(TaskSet):
    """Goals of the shop."""

    recorder_class = ShoppingRecorder

    def make_env(self, reward_mode: Literal["sparse", "dense"], *, labelled: bool = False) -> TextEnvironment:  # noqa: ARG002
        """Return a new environment; it needs nothing more to label."""
        chosen = self.config.webshop
        env = gym.make(
            "mise/WebShop-v0",
            catalogue=chosen.catalogue,
            goals=chosen.goals,
            quirks=chosen.quirks,
            max_turns=self.config.games.max_turns,
            reward_mode=reward_mode,
            infos=("admissible_commands",),
        )
        return OfferedCommands(env, _with_searches, shown)

    def _options(self, split: Split, count: int) -> list[dict[str, Any]]:
        chosen = self.config.webshop
        shop = open_catalogue(folder_of(chosen.catalogue), chosen.quirks)
        numbers = split_ranges(len(shop.goals(chosen.goals)))[split]
        return [{"goals": chosen.goals, "goal_index": number} for number in numbers[:count]]


def _with_searches(commands: Sequence[str], task: str) -> list[str]:
    """Put the searches that the task suggests in the place of the one that stands for all."""
    clicks = [command for command in commands if command != _SEARCH]
    searches = [f"search[{query}]" for query in queries(task)] if _SEARCH in commands else []
    return searches + clicks


def shown(page: str, task: str) -> str:
    """Return what the policy reads of a page: what is new on it, in the lower case in which commands are written.

    Left out are the instruction, which it has read as its task, the buttons, which are among its commands, and what never
    changes. A product's title comes before its options, and of the page after a purchase there is left what was chosen and what
    it was worth.

    Example:
        >>> shown("Instruction: [SEP] a red mug [SEP] Back to Search [SEP] < Prev [SEP] color [SEP] red [SEP] Mug [SEP] "
        ...       "Price: $9.5 [SEP] Rating: N.A. [SEP] Description [SEP] Features [SEP] Reviews [SEP] Buy Now", "a red mug")
        'mug | price: $9.5 | color | red'
    """
    pieces = [piece.lower() for piece in page.replace(f"Instruction: [SEP] {task} [SEP] ", "").split(" [SEP] ")]
    if pieces[0].startswith("thank you"):
        return " | ".join([pieces[0], *_behind("options", pieces), *_behind("your score (min 0.0, max 1.0)", pieces)])
    pieces = [piece for piece in pieces if piece not in _FURNITURE and not piece.startswith("page ")]
    price = next((place for place, piece in enumerate(pieces) if piece.startswith("price: ")), 1)
    title = price - 1
    return " | ".join(pieces[title : price + 1] + pieces[:title] + pieces[price + 1 :]) or "search"


def _behind(label: str, pieces: Sequence[str]) -> list[str]:
    """Return a label and what stands behind it; nothing where it is not there."""
    place = pieces.index(label) if label in pieces else len(pieces)
    return list(pieces[place : place + 2])
