"""A scripted buyer that knows the goal in full: what demonstrations and tests are made of."""

from collections.abc import Iterator

from webshop_server.engine.analyzer import analyze
from webshop_server.engine.goal import Goal
from webshop_server.engine.pages import PER_PAGE
from webshop_server.engine.product import Product
from webshop_server.engine.scoring import Quirks
from webshop_server.engine.session import Session, Shop
from webshop_server.engine.tokenizer import tokenize
from webshop_server.errors import GoalError


def buy(shop: Shop, goal: Goal, *, quirks: Quirks = "upstream") -> list[str]:
    """Return actions, from the start page on, that buy the goal's product with reward 1.0.

    The first search has words of the instruction only; if that does not bring the product up, the title is searched for.

    Raises:
        GoalError: The buyer finds no way to reward 1.0.
    """
    product = shop.product(goal.asin)
    choices = [f"click[{value}]" for value in _values(product, goal)]
    for query in _queries(product, goal):
        asins = list(shop.search(query))
        if goal.asin not in asins:
            continue
        pages = ["click[next >]"] * (asins.index(goal.asin) // PER_PAGE)
        actions = [f"search[{query}]", *pages, f"click[{goal.asin.lower()}]", *choices, "click[buy now]"]
        if _reward(shop, goal, actions, quirks) == 1.0:
            return actions
    raise GoalError(f"The scripted buyer finds no way to reward 1.0 for {goal.asin!r}: {goal.instruction_text!r}.")


def _queries(product: Product, goal: Goal) -> Iterator[str]:
    wanted = goal.goal_options.values() if hasattr(goal.goal_options, "values") else goal.goal_options
    yield _plain(" ".join([goal.query, *goal.attributes, *wanted]))
    yield _plain(product.shown_title)
    yield _plain(f"{product.shown_title} {product.description}")


def _plain(text: str) -> str:
    """Return the words of a text that the index knows about, so that no bracket or line break spoils the action."""
    return " ".join(token for token in tokenize(text.lower()) if analyze(token))


def _values(product: Product, goal: Goal) -> Iterator[str]:
    """Yield the option values to click, as the product page has them."""
    for wanted in goal.options:
        groups = product.options.values() if isinstance(wanted, str) else [product.options.get(wanted[0], ())]
        value = wanted if isinstance(wanted, str) else wanted[1]
        yield from [value] if any(value in values for values in groups) else []


def _reward(shop: Shop, goal: Goal, actions: list[str], quirks: Quirks) -> float:
    session = Session(shop, goal, "buyer", quirks=quirks)
    return [session.act(action).reward for action in actions][-1]
