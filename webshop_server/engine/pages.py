"""Pages of the shop as a list of pieces, and three ways to show them: plain text, text with marked buttons, HTML.

The two texts are those of WebShop's own pages, piece by piece and blank by blank.
"""

import functools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final, Literal, NamedTuple

from webshop_server.engine.product import Product

Kind = Literal["text", "button", "product", "option"]
PageName = Literal["index", "search_results", "item_page", "item_sub_page", "done"]
SUB_PAGES: Final = ("Description", "Features", "Reviews", "Attributes")
PER_PAGE: Final = 10
"""Products on a page of results."""
_BLANKS: Final = " \t\n\f\r"
_HEAD: Final = (
    "Thank you for shopping with us!",
    "Your code: ",
    "None",
    " (Paste it in your MTurk interface.)",
    "Purchased",
    "asin",
)
_MIDDLE: Final = ("attrs", "None", "category", "None", "query", "None", "product category", "None", "Target", "asin", "options",
                  "attrs", "price upper", "instuction text", "category", "product category", "query", "Goal ", "None", "Reward",
                  "Your score (min 0.0, max 1.0)")  # fmt: skip


class Piece(NamedTuple):
    """A text on a page, and what it is."""

    kind: Kind
    text: str
    group: str = ""
    """The name of the choice that an option belongs to."""


@dataclass(frozen=True)
class Page:
    """What a shopper sees at a time; what it looks like is worked out once."""

    name: PageName
    pieces: tuple[Piece, ...]

    @property
    def has_search_bar(self) -> bool:
        """Whether there is a field to type a query into."""
        return self.name == "index"

    @functools.cached_property
    def clickables(self) -> dict[str, Piece]:
        """What can be clicked: name in lower case -> piece; buttons first, then products, then options.

        Of several with the same name the last one is meant.
        """
        names: dict[str, Piece] = {}
        for kind in ("button", "product", "option"):
            for piece in self.pieces:
                if piece.kind == kind:
                    names[piece.text.lower()] = piece
        return names

    @functools.cached_property
    def shown(self) -> tuple[Piece, ...]:
        """The pieces but for empty texts and white space with a line break in it; other white space is one blank."""
        shown = []
        for piece in self.pieces:
            if piece.text.strip(_BLANKS):
                shown.append(piece)
            elif piece.text and "\n" not in piece.text:
                shown.append(Piece(piece.kind, " ", piece.group))
        return tuple(shown)

    @functools.cached_property
    def text(self) -> str:
        """The page as one line; pieces are separated by ``[SEP]``, and nothing shows what can be clicked."""
        return " [SEP] ".join([piece.text.strip() for piece in self.shown])


def index_page(instruction: str) -> Page:
    """Return the page with the search bar."""
    return Page("index", (*_texts("WebShop", "Instruction: ", instruction), Piece("button", "Search")))


def results_page(instruction: str, products: Sequence[Product], number: int, total: int, *, has_next: bool) -> Page:
    """Return a page of search results.

    Args:
        instruction: What the shopper is asked to buy.
        products: The products on this page.
        number: Number of the page, from 1.
        total: Products on all pages.
        has_next: Whether there is a button to the next page.
    """
    pieces = [*_top(instruction), Piece("text", f"Page {number} (Total results: {total})")]
    if number > 1:
        pieces.append(Piece("button", "< Prev"))
    if has_next:
        pieces.append(Piece("button", "Next >"))
    for product in products:
        pieces.append(Piece("product", product.asin))
        pieces += _texts(product.shown_title, product.price_tag)
    return Page("search_results", tuple(pieces))


def item_page(instruction: str, product: Product, *, show_attributes: bool) -> Page:
    """Return the page of a product, with its options."""
    pieces = [*_top(instruction), Piece("button", "< Prev")]
    for group, values in product.options.items():
        pieces += _texts(group)
        pieces += [Piece("option", value, group) for value in values]
    pieces += _texts(product.shown_title, f"Price: {product.price_tag}", "Rating: N.A.")
    names = SUB_PAGES if show_attributes else SUB_PAGES[:-1]
    pieces += [Piece("button", name) for name in (*names, "Buy Now")]
    return Page("item_page", tuple(pieces))


def sub_page(instruction: str, product: Product, name: str) -> Page:
    """Return one of the ``SUB_PAGES`` of a product; "Reviews" is always empty."""
    texts: Iterable[str] = ()
    if name == "Description":
        texts = (product.description,)
    elif name == "Features":
        texts = (f" {point}" for point in product.bullet_points)
    elif name == "Attributes":
        attributes = (f" {attribute}" for attribute in product.attributes)
        texts = (*attributes, product.category, product.query, product.product_category)
    return Page("item_sub_page", (*_top(instruction), Piece("button", "< Prev"), *_texts(*texts)))


def done_page(asin: str, chosen: Mapping[str, str], score: float) -> Page:
    """Return the page after a purchase."""
    return Page(
        "done", tuple(_texts(*_HEAD, asin, "options", _options_in_page(chosen), *_MIDDLE, str(score), "Reward Details ", "None"))
    )


def as_rich_text(page: Page, url: str, visited: Iterable[str]) -> str:
    """Return the page with its buttons marked, and those that have been clicked marked as such.

    Args:
        page: The page.
        url: Its address: an option is shown as clicked if it stands there in double quotes.
        visited: Products that have been looked at since the last search.
    """
    before, lines = "", []
    for piece in page.shown:
        if piece.kind == "option" and f'"{piece.text}"' in url:
            before = f"You have clicked {piece.text}.\n{before}"
            lines.append(f"  [clicked button] {piece.text} [clicked button_]")
        else:
            lines.append(_rich_line(piece, visited))
    return before + "".join(f"{line}\n" for line in lines)


def as_html(page: Page, chosen: Mapping[str, str]) -> str:
    """Return the page as a small HTML document, in which ``chosen`` options are checked."""
    body = "".join(f"{_html_line(piece, chosen)}\n" for piece in page.shown)
    form = '<form><input id="search_input" name="search_query" type="text"></form>\n' if page.has_search_bar else ""
    return f'<!DOCTYPE html>\n<html lang="en">\n<head><title>WebShop</title></head>\n<body>\n{body}{form}</body>\n</html>\n'


def _rich_line(piece: Piece, visited: Iterable[str]) -> str:
    match piece.kind:
        case "button":
            return f"[button] {piece.text} [button_]"
        case "option":
            return f"  [button] {piece.text} [button_]"
        case "product":
            mark = "clicked button" if piece.text in visited else "button"
            return f"\n[{mark}] {piece.text} [{mark}_]"
    return piece.text


def _html_line(piece: Piece, chosen: Mapping[str, str]) -> str:
    text = escape(piece.text)
    match piece.kind:
        case "button":
            return f"<button>{text}</button>"
        case "option":
            checked = " checked" if chosen.get(piece.group) == piece.text else ""
            return f'<label><input type="radio" name="{escape(piece.group)}" value="{text}"{checked}>{text}</label>'
        case "product":
            return f'<a class="product-link" href="#{text}">{text}</a>'
    return f"<p>{text}</p>"


def _top(instruction: str) -> list[Piece]:
    return [*_texts("Instruction:", instruction), Piece("button", "Back to Search")]


def _texts(*texts: str) -> Iterator[Piece]:
    return (Piece("text", text) for text in texts)


def _options_in_page(chosen: Mapping[str, str]) -> str:
    """Return JSON that is safe within HTML."""
    text = json.dumps(dict(chosen), sort_keys=True)
    return "".join(f"\\u{ord(letter):04x}" if letter in "<>&'" else letter for letter in text)
