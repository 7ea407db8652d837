"""Session: one shopper with one goal, from the search bar to the purchase."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from webshop_server.engine.goal import Goal
from webshop_server.engine.pages import (
    PER_PAGE,
    SUB_PAGES,
    Page,
    Piece,
    as_html,
    as_rich_text,
    done_page,
    index_page,
    item_page,
    results_page,
    sub_page,
)
from webshop_server.engine.product import Product
from webshop_server.engine.scoring import Quirks, Scorer

BASE_URL: Final = "http://127.0.0.1:3000"
MODES: Final = ("text", "text_rich", "html", "url")
"""Ways to show a page."""
_ACTION: Final = re.compile(r"(.+)\[(.+)\]")
_NAMES_IN_URLS: Final = ("search_results", "item_page", "item_sub_page", "done")
_MOST_PAGES: Final = 64
_SUB_PAGE_OF: Final = {name.lower(): name for name in SUB_PAGES}


class Shop(Protocol):
    """What a session needs of a shop."""

    def product(self, asin: str) -> Product:
        """Return the product with this asin."""

    def search(self, query: str) -> Sequence[str]:
        """Return the asins of the best products, best first."""

    @property
    def scorer(self) -> Scorer:
        """What scores a purchase."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an action led to."""

    is_valid: bool
    """Whether the shop understood the action and something could be done; otherwise nothing has changed."""
    reward: float = 0.0
    """The purchase score, in [0, 1], when something was bought."""
    is_done: bool = False
    """Whether something was bought."""
    parts: dict[str, Any] | None = None
    """What the purchase score is made of."""


class Session:
    """One visit to the shop.

    Actions are ``search[words]`` and ``click[name]``. With ``quirks="upstream"`` everything is as in WebShop: one can search on
    every page, ``Next >`` leads beyond the last results without end, and ``< Prev`` can lead astray when the query has the name
    of a page in it. With ``"fixed"`` one searches where the search bar is, and both buttons do what they say.

    Args:
        shop: Where products, results and scores come from.
        goal: What to buy.
        session_id: Stands in the addresses of pages.
        show_attributes: Whether products have a page with their hidden attributes.
        quirks: "upstream" or "fixed".
    """

    def __init__(
        self, shop: Shop, goal: Goal, session_id: str, *, show_attributes: bool = False, quirks: Quirks = "upstream"
    ) -> None:
        self.goal = goal
        self._shop = shop
        self._session_id = session_id
        self._show_attributes = show_attributes
        self._quirks = quirks
        self._instruction = goal.instruction_text
        self._keywords: list[str] = []
        self._pages: dict[tuple[str, str, str], Page] = {}
        self._number = 1
        self._sub_page = ""
        self._enter_index()

    @property
    def page(self) -> Page:
        """The page that the shopper sees."""
        return self._page

    @property
    def url(self) -> str:
        """Its address."""
        return self._url

    @property
    def query(self) -> str:
        """What was searched for last."""
        return " ".join(self._keywords)

    @property
    def number(self) -> int:
        """Number of the page of results that is or was shown, from 1."""
        return self._number

    @property
    def asin(self) -> str:
        """The product that is looked at or was bought; empty elsewhere."""
        return self._asin

    @property
    def sub_page(self) -> str:
        """Which of the ``SUB_PAGES`` of it was looked at last."""
        return self._sub_page

    @property
    def chosen(self) -> dict[str, str]:
        """Its options that are chosen: name -> value."""
        return dict(self._chosen)

    @property
    def visited(self) -> frozenset[str]:
        """Products that have been looked at since the shopper was on the first page."""
        return frozenset(self._visited)

    @property
    def clickables(self) -> list[str]:
        """What can be clicked, in lower case; on the first page that includes "search", which does nothing."""
        return list(self._clickables)

    def actions(self) -> list[str]:
        """Return every valid action; ``search[...]`` stands for all searches."""
        clicks = [f"click[{name}]" for name in self._clickables if name != "search" and _can_be_said(name)]
        can_search = self._quirks == "upstream" or self._page.has_search_bar
        return [*(["search[...]"] if can_search else []), *clicks]

    def show(self, mode: str) -> str:
        """Return the page in one of the ``MODES``."""
        match mode:
            case "text":
                return self._page.text
            case "text_rich":
                return as_rich_text(self._page, self._url, self._visited)
            case "html":
                return as_html(self._page, self._chosen)
        return self._url

    def act(self, action: str) -> Outcome:
        """Apply an action, which may be any string."""
        name, argument = parse_action(action)
        if name == "search" and (self._quirks == "upstream" or self._page.has_search_bar):
            self._keywords = argument.split(" ")
            self._enter_results(1)
            return Outcome(is_valid=True)
        if name != "click" or argument == "search" or argument not in self._clickables:
            return Outcome(is_valid=False)
        return self._click(argument, self._clickables[argument])

    def _click(self, name: str, piece: Piece) -> Outcome:
        page_name = self._page_name()
        if name == "back to search":
            self._enter_index()
        elif name == "next >" and page_name == "search_results":
            self._enter_results(self._number + 1)
        elif name == "< prev" and page_name in ("search_results", "item_page"):
            self._enter_results(self._number - (page_name == "search_results"))
        elif name == "< prev":
            self._enter_item()
        elif piece.kind == "product":
            self._asin = piece.text
            self._visited.add(piece.text)
            self._enter_item()
        elif name in _SUB_PAGE_OF:
            self._enter_sub_page(_SUB_PAGE_OF[name])
        elif name == "buy now":
            return self._buy()
        else:
            self._chosen[piece.group] = piece.text
            self._enter_item()
        return Outcome(is_valid=True)

    def _buy(self) -> Outcome:
        product = self._shop.product(self._asin)
        score, parts = self._shop.scorer.score(product, self.goal, self._chosen)
        url = f"{BASE_URL}/done/{self._session_id}/{self._asin}/{self._chosen}"
        self._enter(done_page(self._asin, self._chosen, score), url)
        return Outcome(is_valid=True, reward=score, is_done=True, parts=parts)

    def _enter(self, page: Page, url: str) -> None:
        self._page, self._url = page, url
        self._clickables = page.clickables

    def _enter_index(self) -> None:
        self._forget_item()
        self._visited: set[str] = set()
        self._enter(index_page(self._instruction), f"{BASE_URL}/{self._session_id}")

    def _enter_results(self, number: int) -> None:
        self._forget_item()
        self._number = number
        query = self.query
        page = self._remembered(("results", query, str(number)), lambda: self._results_page(query, number))
        self._enter(page, f"{BASE_URL}/search_results/{self._session_id}/{self._query_in_url()}/{number}")

    def _results_page(self, query: str, number: int) -> Page:
        asins = self._shop.search(query)
        products = [self._shop.product(asin) for asin in asins[(number - 1) * PER_PAGE : number * PER_PAGE]]
        has_next = self._quirks == "upstream" or number * PER_PAGE < len(asins)
        return results_page(self._instruction, products, number, len(asins), has_next=has_next)

    def _enter_item(self) -> None:
        page = self._remembered(("item", self._asin, ""), self._item_page)
        self._enter(page, f"{self._item_url('item_page')}/{json.dumps(self._chosen)}")

    def _item_page(self) -> Page:
        return item_page(self._instruction, self._shop.product(self._asin), show_attributes=self._show_attributes)

    def _enter_sub_page(self, name: str) -> None:
        self._sub_page = name
        page = sub_page(self._instruction, self._shop.product(self._asin), name)
        self._enter(page, f"{self._item_url('item_sub_page')}/{name}/{self._chosen}")

    def _remembered(self, key: tuple[str, str, str], make: Callable[[], Page]) -> Page:
        """Return a page that the shopper has seen before, or make it; shoppers go back and forth."""
        page = self._pages.get(key)
        if page is None:
            if len(self._pages) >= _MOST_PAGES:
                self._pages.clear()
            page = self._pages[key] = make()
        return page

    def _item_url(self, page_name: str) -> str:
        return f"{BASE_URL}/{page_name}/{self._session_id}/{self._asin}/{self._query_in_url()}/{self._number}"

    def _query_in_url(self) -> str:
        return "+".join(self._keywords)

    def _forget_item(self) -> None:
        self._asin = ""
        self._chosen: dict[str, str] = {}

    def _page_name(self) -> str:
        """Return which page the buttons think this is: WebShop looks for the name anywhere in the address."""
        if self._quirks == "fixed":
            return self._page.name
        return next((name for name in _NAMES_IN_URLS if name in self._url), "index")


def parse_action(action: str) -> tuple[str, str]:
    """Return what an action says: "search" or "click" and what to search for or click on in lower case; else two empty texts.

    Example:
        >>> parse_action("click[Buy Now] please"), parse_action("buy")
        (('click', 'buy now'), ('', ''))
    """
    match = _ACTION.match(action)
    return (match[1], match[2].lower()) if match and match[1] in ("search", "click") else ("", "")


def _can_be_said(name: str) -> bool:
    """Return whether ``click[name]`` means that name: an opening bracket or a line break in it would be misread."""
    return "[" not in name and "\n" not in name and name != ""
