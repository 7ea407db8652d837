"""What the templates show of a visit: products, links, and the state that programs read."""

import copy
import functools
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from webshop_server.cards import Card, card_of, picture_of
from webshop_server.engine.goal import Goal
from webshop_server.engine.pages import SUB_PAGES
from webshop_server.engine.product import Product
from webshop_server.engine.session import Session
from webshop_server.pictures import colour_of
from webshop_server.receipt import Receipt, write_receipt
from webshop_server.storefront import Storefront
from webshop_server.visits import Arrival, Visit


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """A value that can be chosen."""

    text: str
    href: str | None
    """Where choosing it leads; ``None`` if nobody can choose it, because its name means something else."""
    is_chosen: bool
    colour: str | None
    """The colour that it names, as ``#rrggbb``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a product comes in, such as sizes."""

    name: str
    chosen: str
    """The value that was chosen, if any."""
    options: list[Option]


class View:
    """A page of a visit, for a template.

    Args:
        front: Where products come from.
        visit: The visit.
        arrival: The page of it.
        root: What all addresses begin with.
        write: Fills a template of a fragment.
    """

    def __init__(self, front: Storefront, visit: Visit, arrival: Arrival, root: str, write: Callable[..., str]) -> None:
        self.goal: Goal = visit.errand.goal
        self.session: Session = arrival.session
        self.state = state_of(arrival, has_scores=front.config.show_score)
        self.root = root
        self.address = f"{root}/s/{visit.id}/{arrival.step}"
        self.clicks = frozenset(action[6:-1] for action in self.state["actions"] if action.startswith("click["))
        self.longest_query = front.config.longest_query
        self._front = front
        self._write = write

    def link(self, label: str) -> str | None:
        """Return the address that a click on ``label`` leads to; ``None`` if it cannot be clicked, or not be written."""
        try:
            return f"{self.address}/click?name={quote(label, safe='')}" if label in self.clicks else None
        except UnicodeEncodeError:
            return None

    @property
    def can_search(self) -> bool:
        """Whether there is a search bar."""
        return "search[...]" in self.state["actions"] and not self.state["done"]

    @property
    def cards(self) -> list[Markup]:
        """The products on this page of results."""
        return [self._card(piece.text) for piece in self.session.page.pieces if piece.kind == "product"]

    @property
    def pager(self) -> Markup:
        """The links between pages of results."""
        buttons = {"has_previous": "< prev" in self.clicks, "has_next": "next >" in self.clicks}
        return self._fragment("pager", number=self.session.number, **buttons)

    @property
    def item(self) -> Markup:
        """The product that is looked at, with its options."""
        return self._fragment("item", asin=self.session.asin, chosen=tuple(self.session.chosen.items()))

    @property
    def about(self) -> Markup:
        """The page about the product that is looked at."""
        chosen = tuple(self.session.chosen.items())
        return self._fragment("sub_page", asin=self.session.asin, name=self.session.sub_page, chosen=chosen)

    def card(self, asin: str) -> Card:
        """Return what a list of results shows of a product."""
        return card_of(self._front.catalogue.product(asin))

    @property
    def num_found(self) -> int:
        """How many products the search found."""
        return len(self._front.catalogue.search(self.session.query))

    @functools.cached_property
    def product(self) -> Product:
        """The product that is looked at or was bought."""
        return self._front.catalogue.product(self.session.asin)

    @property
    def choices(self) -> list[Choice]:
        """What the product comes in."""
        chosen = self.session.chosen
        return [
            Choice(name=name, chosen=chosen.get(name, ""), options=[self._option(name, value) for value in values])
            for name, values in self.product.options.items()
        ]

    @property
    def picture(self) -> str:
        """The address of the product's picture, in the chosen colour."""
        return f"{self.root}{picture_of(self.product)}{self._chosen_colour}"

    @property
    def _chosen_colour(self) -> str:
        """What to add to the address of the picture, so that it has the chosen colour."""
        chosen = self.session.chosen
        for group, (name, values) in enumerate(self.product.options.items()):
            if name in chosen and colour_of(chosen[name]) is not None:
                return f"?o={group}:{list(values).index(chosen[name])}"
        return ""

    @property
    def sub_pages(self) -> list[str]:
        """The pages about the product that can be opened from its page."""
        return [name for name in SUB_PAGES if name.lower() in self.clicks]

    @property
    def paragraphs(self) -> list[str]:
        """The texts of a page about the product."""
        pieces = self.session.page.pieces
        last_button = max(place for place, piece in enumerate(pieces) if piece.kind == "button")
        return [piece.text for piece in pieces[last_button + 1 :] if piece.text.strip()]

    @property
    def receipt(self) -> Receipt | None:
        """Why the purchase has its score; ``None`` if scores are not shown."""
        if not self._front.config.show_score:
            return None
        return write_receipt(self._front.catalogue.scorer, self.product, self.goal, self.session.chosen)

    def _card(self, asin: str) -> Markup:
        return self._fragment("card", asin=asin, is_viewed=asin in self.session.visited)

    def _fragment(self, template: str, /, **about: Hashable) -> Markup:
        """Return a part of the page, which depends on nothing but what it is ``about``, and on the address."""

        def write(address: str) -> str:
            view = copy.copy(self)
            view.address = address
            return self._write(f"fragments/{template}.html", view=view, **about)

        return Markup(self._front.fragments.get((template, self.root, *about.items()), self.address, write))

    def _option(self, group: str, value: str) -> Option:
        piece = self.session.page.clickables[value.lower()]
        is_meant = piece.kind != "option" or piece.group == group
        return Option(
            text=value,
            href=self.link(value.lower()) if is_meant else None,
            is_chosen=self.session.chosen.get(group) == value,
            colour=colour_of(value),
        )


def state_of(arrival: Arrival, *, has_scores: bool) -> dict[str, Any]:
    """Return what programs read of a page; see ``webshop_server.app``.

    Args:
        arrival: The page.
        has_scores: Whether the score of a purchase is told.
    """
    session, outcome = arrival.session, arrival.outcome
    state = {
        "step": arrival.step,
        "turn": arrival.turn,
        "page": session.page.name,
        "url": session.url,
        "text": session.show("text"),
        "text_rich": session.show("text_rich"),
        "clickables": session.clickables,
        "actions": session.actions(),
        "has_search_bar": session.page.has_search_bar,
        "valid_action": outcome.is_valid,
        "done": outcome.is_done,
    }
    return state | ({"reward": outcome.reward, "parts": outcome.parts} if has_scores else {})
