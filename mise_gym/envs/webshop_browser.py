"""WebShopBrowserEnv: the shop of ``mise/WebShop-v0`` as a web site that the agent uses through a real browser."""

import contextlib
import io
import json
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from mise_gym.envs.base import RewardMode, Scene, Task, TextEnv
from mise_gym.envs.browser import BrowserSettings, find_browser, open_window
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
from mise_gym.errors import MiseError, SimulatorCrashed
from mise_gym.extras import require
from webshop_server.config import ShopConfig
from webshop_server.engine.goal_list import GoalKind
from webshop_server.engine.scoring import Quirks
from webshop_server.engine.session import MODES, parse_action
from webshop_server.past_visit import Errand
from webshop_server.server import ShopServer

LONGEST_QUERY: Final = 10_000
"""Letters that can be typed into the search field; a longer search is no valid action."""
_MOST_TURNS: Final = 1_000_000
_PATIENCE_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.002
_READ: Final = """
const state = document.getElementById("state");
if (!state || document.readyState === "loading") return null;
if (!arguments[0]) return [state.textContent, ""];
const page = document.documentElement.cloneNode(true);
page.querySelector("#state").remove();
return [state.textContent, page.outerHTML];
"""
_ONCE: Final = """
const state = document.getElementById("state");
if (!state || JSON.parse(state.textContent).step !== arguments[1]) return;
"""
"""Goes before what acts: the driver runs a script again, on the page that follows, if that page comes before the answer."""
_CLICK: Final = """
[...document.querySelectorAll("[data-click]")].find(element => element.dataset.click === arguments[0]).click();
"""
_SEARCH: Final = """
const field = document.getElementById("search_input");
field.value = arguments[0];
field.form.submit();
"""


class WebShopBrowserEnv(TextEnv):
    """The shop of ``mise/WebShop-v0`` as a web site, used through a real browser.

    ## Description
    The same goals, actions, observations and rewards as in ``mise/WebShop-v0``, but every action is a click or a search in a
    Chromium that shows the pages of ``mise-gym webshop serve``, served from this process. It is a thousand times slower than
    ``mise/WebShop-v0``: use it to watch an agent, to make pictures, and to check that what was learnt holds in a browser. It
    needs ``pip install 'mise-gym[browser]'``, Chromium and ChromeDriver (on Debian: ``apt install chromium chromium-driver``);
    nothing is downloaded. All environments of a process share one browser, in a window each; it starts with the first ``reset``.

    ## Observation
    As ``observation_mode`` says: ``text``, ``text_rich`` and ``url`` are letter by letter those of ``mise/WebShop-v0``; ``html``
    is what the browser has made of the page.

    ## Actions
    ``search[words]`` and ``click[name]``, as in ``mise/WebShop-v0``. A search of more than 10,000 letters is not valid.

    ## Rewards
    As in ``mise/WebShop-v0``.

    ## Episode end
    Terminated when something is bought. Truncated after ``max_turns`` turns.

    ## Information
    As in ``mise/WebShop-v0``, the names that ``infos`` may ask for included.

    ## Arguments
    - ``catalogue``, ``goals``, ``split``, ``show_attributes``, ``quirks``, ``max_turns``, ``reward_mode``, ``infos``: as in
      ``mise/WebShop-v0``.
    - ``observation_mode``: see above.
    - ``chromium``, ``chromedriver``: paths; ``None`` looks for the usual names.
    - ``render_mode``: "ansi" (text), "rgb_array" (``render`` returns what the window shows, shape ``(height, width, 3)``, bytes)
      or "human" (the window is on the screen).

    ## Options
    ``reset(options=...)`` knows ``goal_index``, ``goals``, ``split``, ``goal`` and ``game``, as in ``mise/WebShop-v0``.

    ## Splits
    As in ``mise/WebShop-v0``.

    ## Seeding
    As in ``mise/WebShop-v0``.

    ## Differences from upstream
    As in ``mise/WebShop-v0``, and the pages are our own: they have the same words, links and buttons, but look different.

    ## Version history
    - v0: first version.

    ## References
    - Yao et al., "WebShop: Towards Scalable Real-World Web Interaction with Grounded Language Agents", arXiv:2207.01206.
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi", "rgb_array", "human"], "render_fps": 4}  # noqa: RUF012  # as in Gymnasium
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
        chromium: str | None = None,
        chromedriver: str | None = None,
        max_turns: int | None = 100,
        reward_mode: RewardMode = "sparse",
        infos: Sequence[str] = (),
        render_mode: str | None = None,
    ) -> None:
        super().__init__(max_turns=max_turns, reward_mode=reward_mode, infos=infos, render_mode=render_mode)
        require("flask")
        require("waitress")
        self.observation_mode = check_name("observation mode", observation_mode, MODES)
        self.quirks = check_quirks(quirks)
        with shop_errors_as_config_errors():
            folder = folder_of(catalogue)
            self._catalogue = open_catalogue(folder, self.quirks)
        self._goals = GoalChooser(self._catalogue, goals, split)
        self._browser = find_browser(chromium, chromedriver, has_screen=render_mode == "human")
        self._config = ShopConfig(
            catalogue=folder,
            show_attributes=show_attributes,
            quirks=self.quirks,
            longest_query=LONGEST_QUERY,
            most_steps=_MOST_TURNS,
            most_visits=1,
            idle_seconds=float("inf"),
        )
        self._shopper: _Shopper | None = None
        self._errand: Errand | None = None
        self._hang_up: weakref.finalize[[], WebShopBrowserEnv] | None = None

    def expert_actions(self) -> list[str]:
        """Return what a buyer who knows the goal in full does, from the start of the current episode.

        Raises:
            MiseError: There is no episode, or there is no way to a perfect score: some goals of the original data have none.
        """
        if self._errand is None:
            raise MiseError("There is no episode. Call reset() first.")
        return solution_of(self._catalogue, self._errand.goal, self.quirks)

    def render(self) -> str | npt.NDArray[np.uint8] | None:  # type: ignore[override]  # more than text, as Gymnasium allows
        """Return the last exchange as text, or a picture of the window as an array, as ``render_mode`` says."""
        if self.render_mode != "rgb_array":
            return None if self.render_mode == "human" else super().render()
        picture = require("PIL.Image").open(io.BytesIO(self._at_the_window().window.picture()))
        return np.asarray(picture.convert("RGB"), dtype=np.uint8)

    def close(self) -> None:
        """Close window and shop, and the browser if no other environment uses it; a second call does nothing."""
        super().close()
        self._errand = None
        self._leave()

    def _start(self, options: Mapping[str, Any]) -> tuple[Task, Scene]:
        with shop_errors_as_config_errors():
            self._errand = errand = self._goals.choose(options, self.np_random)
        if self._shopper is None:
            self._shopper = _Shopper(self._config, self._browser, reads_html=self.observation_mode == "html")
            self._hang_up = weakref.finalize(self, self._shopper.leave)
        with self._leaving_after_a_crash():
            self._shopper.begin(errand)
        return Task(goal=errand.goal.instruction_text, task_id=errand.task_id, split=errand.split), self._scene_now(is_valid=True)

    def _act(self, action: str) -> Scene:
        with self._leaving_after_a_crash():
            return self._scene_now(is_valid=self._at_the_window().do(*parse_action(action)))

    def _extra(self, name: str) -> Any:
        state = self._at_the_window().state
        match name:
            case "admissible_commands":
                return state["actions"]
            case "clickables" | "url":
                return state[name]
            case "score_parts":
                return state["parts"] or {}
        return self.expert_actions()

    def _scene_now(self, *, is_valid: bool) -> Scene:
        shopper = self._at_the_window()
        reward = float(shopper.state["reward"])
        return Scene(
            text=shopper.html if self.observation_mode == "html" else str(shopper.state[self.observation_mode]),
            score=reward,
            max_score=1.0,
            progress=reward,
            terminated=bool(shopper.state["done"]),
            valid_action=is_valid,
        )

    def _at_the_window(self) -> "_Shopper":
        if self._shopper is None:
            raise MiseError("There is no episode. Call reset() first.")
        return self._shopper

    @contextlib.contextmanager
    def _leaving_after_a_crash(self) -> Iterator[None]:
        """Make the next ``reset`` open a new window."""
        try:
            yield
        except SimulatorCrashed:
            self._leave()
            raise

    def _leave(self) -> None:
        if self._hang_up is not None:
            self._hang_up()
        self._shopper = self._hang_up = None


class _Shopper:
    """A window of the browser in front of a shop that is served from this process.

    Args:
        config: Settings of the shop.
        browser: Which browser to use.
        reads_html: Whether ``html`` is filled.
    """

    def __init__(self, config: ShopConfig, browser: BrowserSettings, *, reads_html: bool) -> None:
        self._server = ShopServer(config, port=0)
        self._server.start()
        try:
            self.window = open_window(browser)
        except BaseException:
            self._server.stop()
            raise
        self._reads_html = reads_html
        self._visit = ""
        self.state: dict[str, Any] = {}
        """What the page says of itself; see ``webshop_server.app``."""
        self.html = ""

    def begin(self, errand: Errand) -> None:
        """Open the first page of a visit.

        Raises:
            SimulatorCrashed: The browser died, as in all methods.
        """
        visit = self._server.storefront.open_visit(errand)
        self._visit, self.state = visit.id, {}
        self.window.open(self._server.address_of(visit))
        self._arrive()

    def do(self, verb: str, words: str) -> bool:
        """Search or click, and wait for the page that follows; return whether that can be done here."""
        if verb == "search" and "search[...]" in self.state["actions"] and len(words) <= LONGEST_QUERY:
            self._act(_SEARCH, words.encode("utf-8", "replace").decode())
        elif verb == "click" and f"click[{words}]" in self.state["actions"]:
            self._act(_CLICK, words)
        else:
            return False
        self._arrive()
        return True

    def _act(self, script: str, words: str) -> None:
        self.window.run(_ONCE + script, words, self.state["step"])

    def leave(self) -> None:
        """Close the window, and the shop."""
        self.window.close()
        self._server.stop()

    def _arrive(self) -> None:
        """Read the page as soon as it is another one."""
        before, deadline = self.state.get("step"), time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline:
            found = self.window.run(_READ, self._reads_html)
            if found is not None and (state := json.loads(found[0]))["step"] != before:
                self.state, self.html = state, found[1].replace(self._visit, "visit")
                return
            time.sleep(_POLL_SECONDS)
        raise SimulatorCrashed(f"No other page came within {_PATIENCE_SECONDS:.0f} seconds. reset() opens a new window.")
