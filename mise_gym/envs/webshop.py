"""WebShopEnv: a shop in which the agent searches, looks, chooses and buys what an instruction asks for."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from mise_gym.envs.base import RewardMode, Scene, Task, TextEnv
from mise_gym.envs.webshop_goals import (
    EPISODE_OPTIONS,
    GoalChooser,
    ObservationMode,
    check_name,
    check_quirks,
    folder_of,
    open_catalogue,
    shop_errors_as_config_errors,
    solution_of,
)
from mise_gym.errors import MiseError
from webshop_server.engine.goal_list import GoalKind
from webshop_server.engine.scoring import Quirks
from webshop_server.engine.session import MODES, Outcome, Session


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
    - ``split``: the split that ``reset`` draws from.
    - ``observation_mode``: see above.
    - ``show_attributes``: whether products have a page with their hidden attributes.
    - ``quirks``: "upstream" is WebShop with its flaws, so that results can be compared. "fixed" repairs these: one searches
      only where the search bar is; ``Next >`` ends with the results; ``< Prev`` does not go astray when the query has the name
      of a page in it; options must match in all words and under their name ("pack of 1" is not "pack of 2", "large" not
      "x-large", "standard" not "tan"); a noun that a title repeats counts once; an empty query or category is like no other;
      the product's type is not judged wrong by its name when query and category are right.
    - ``max_turns``, ``reward_mode``, ``infos``, ``render_mode``: as in every text environment.

    Kept in both: the chosen options are not to be seen in ``text``; pages of reviews are empty; of two choices with the same
    value the last one is meant, and a button comes before a choice of its name; ``click[...]`` cannot name what has an opening
    bracket in it; an attribute counts as met where its letters stand in the product's texts. Repaired in both: secret search
    words that list all products of a category are words; prices and limits are the same in every process; prices that cannot
    be read, goals without attributes or limit and very long queries are no errors.

    ## Options
    ``reset(options=...)`` knows ``goal_index`` (a number in the list of goals of all splits), ``goals`` and ``split`` (for this
    episode), ``goal`` (a goal given in full, as in WebShop's list of goals) and ``game`` (a ``task_id``). Of ``goal_index``,
    ``goal`` and ``game`` one may be given.

    ## Splits
    Of all goals the first 500 are ``test``, the next 1,000 ``valid`` and the others ``train``, as in the paper; with fewer than
    4,000 goals, ``test`` and ``valid`` are a quarter each at most. Human and synthetic goals are counted apart.

    ## Seeding
    The seed decides which goal is drawn; synthetic goals with rare attributes are drawn more often. There is no chance in the
    shop: the same goal and the same actions give the same transcript. Prices and price limits that WebShop draws anew in each
    process depend on the product here.

    ## Differences from upstream
    - Gymnasium's interface; a step limit, which is ``truncated``; an action that is not understood is told in ``info``.
    - No Java, no spaCy, no files to download: products are generated, or imported from WebShop's files. With WebShop's own
      files and ``quirks="upstream"`` pages, ranking and score are equal to the original, letter by letter.
    - ``success`` is a score of 1, nothing less. Price limits and prices do not change from process to process.
    - There is no secret search for single products ("<r>", "<a>" and the like), and no picture features.

    ## Version history
    - v0: first version.

    ## References
    - Yao et al., "WebShop: Towards Scalable Real-World Web Interaction with Grounded Language Agents", arXiv:2207.01206.
    """

    available_infos: ClassVar[tuple[str, ...]] = ("admissible_commands", "clickables", "url", "score_parts", "walkthrough")
    known_options: ClassVar[tuple[str, ...]] = EPISODE_OPTIONS

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
        self.observation_mode = check_name("observation mode", observation_mode, MODES)
        self.quirks = check_quirks(quirks)
        self.show_attributes = show_attributes
        with shop_errors_as_config_errors():
            self._shop = open_catalogue(folder_of(catalogue), self.quirks)
        self._goals = GoalChooser(self._shop, goals, split)
        self._session: Session | None = None
        self._outcome = Outcome(is_valid=True)

    def expert_actions(self) -> list[str]:
        """Return what a buyer who knows the goal in full does, from the start of the current episode.

        Raises:
            MiseError: There is no episode, or there is no way to a perfect score: some goals of the original data have none.
        """
        return solution_of(self._shop, self._shopping().goal, self.quirks)

    def close(self) -> None:
        """Forget the episode; a second call does nothing."""
        super().close()
        self._session = None

    def _start(self, options: Mapping[str, Any]) -> tuple[Task, Scene]:
        with shop_errors_as_config_errors():
            errand = self._goals.choose(options, self.np_random)
        self._session = Session(
            self._shop, errand.goal, errand.session_id, show_attributes=self.show_attributes, quirks=self.quirks
        )
        self._outcome = Outcome(is_valid=True)
        return Task(goal=errand.goal.instruction_text, task_id=errand.task_id, split=errand.split), self._scene_now()

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
