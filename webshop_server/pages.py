"""The addresses of the shop: each reads a request, asks the engine, and fills a template."""

from typing import Any, Final

from flask import Blueprint, Response, abort, current_app, redirect, request
from werkzeug.wrappers import Response as AnyResponse

from webshop_server.cards import with_cents
from webshop_server.engine.goal_list import KINDS, GoalKind
from webshop_server.errors import CatalogueError
from webshop_server.pictures import draw
from webshop_server.storefront import Storefront
from webshop_server.views import View
from webshop_server.visits import Arrival, Visit

pages = Blueprint("pages", __name__)
pages.add_app_template_filter(with_cents)
_PICTURE_SECONDS: Final = 3600
_UNSAYABLE: Final = str.maketrans("[\n\r", "   ")


@pages.get("/")
def start() -> Response:
    """List goals to shop for."""
    kind = _kind(request.args.get("goals", _storefront().config.goals))
    words = request.args.get("q", "")[: _storefront().config.longest_query]
    number = _number(request.args.get("page", "1"))
    page = _storefront().goal_page(kind, words, number)
    counts = {each: _storefront().num_goals(each) for each in KINDS}
    return render("start.html", page=page, kind=kind, words=words, counts=counts)


@pages.post("/visits")
def begin() -> AnyResponse:
    """Begin a visit."""
    storefront = _storefront()
    kind, number = _kind(request.form.get("goals", storefront.config.goals)), request.form.get("goal", "").strip()
    errand = storefront.errand(kind, _number(number)) if number else storefront.random_errand(kind)
    return redirect(f"{request.script_root}/s/{storefront.open_visit(errand).id}/0", code=303)


@pages.get("/s/<visit:visit_id>/<step:step>")
def look(visit_id: str, step: str) -> Response:
    """Show a page of a visit again."""
    visit = _storefront().visits.get(visit_id)
    return _show(visit, visit.look(int(step)))


@pages.get("/s/<visit:visit_id>/<step:step>/search")
def search(visit_id: str, step: str) -> Response:
    """Search, and show the results."""
    words, longest = request.args.get("q", ""), _storefront().config.longest_query
    if len(words) > longest:
        return _too_long(longest)
    visit = _storefront().visits.get(visit_id)
    arrival = visit.act(int(step), f"search[{words.translate(_UNSAYABLE)}]")
    if words and not arrival.outcome.is_valid:
        abort(404)
    return _show(visit, arrival, "" if words else "Type what you are looking for.")


@pages.get("/s/<visit:visit_id>/<step:step>/click")
def click(visit_id: str, step: str) -> Response:
    """Click on something, and show the page that it leads to; buying takes a form."""
    name = request.args.get("name", "")
    if name.lower() == "buy now":
        abort(405, valid_methods=["POST"])
    visit = _storefront().visits.get(visit_id)
    arrival = visit.act(int(step), f"click[{name}]")
    if not arrival.outcome.is_valid:
        abort(404)
    return _show(visit, arrival)


@pages.post("/s/<visit:visit_id>/<step:step>/buy")
def buy(visit_id: str, step: str) -> AnyResponse:
    """Buy what is looked at; doing it again changes nothing."""
    arrival = _storefront().visits.get(visit_id).act(int(step), "click[buy now]")
    if not arrival.outcome.is_valid:
        abort(404)
    return redirect(f"{request.script_root}/s/{visit_id}/{arrival.step}", code=303)


@pages.get("/pictures/<path:asin>.svg")
def picture(asin: str) -> Response:
    """Draw a product."""
    try:
        product = _storefront().catalogue.product(asin)
    except CatalogueError:
        abort(404)
    response = Response(draw(product, request.args.get("o", "")), mimetype="image/svg+xml")
    response.headers["Cache-Control"] = f"private, max-age={_PICTURE_SECONDS}"
    return response


def render(template: str, *, status: int = 200, **values: Any) -> Response:
    """Return a page. Half characters, which imported texts may have, are replaced."""
    text = _fill(template, root=request.script_root, **values)
    return Response(text.encode("utf-8", "replace"), status=status, mimetype="text/html")


def _fill(template: str, **values: Any) -> str:
    return current_app.jinja_env.get_template(template).render(values)


def _show(visit: Visit, arrival: Arrival, notice: str = "") -> Response:
    view = View(_storefront(), visit, arrival, request.script_root, _fill)
    return render(f"{arrival.session.page.name}.html", view=view, notice=notice)


def _too_long(longest: int) -> Response:
    return render("problem.html", status=400, title="Too long", sentence=f"A search has at most {longest} letters.")


def _storefront() -> Storefront:
    storefront: Storefront = current_app.extensions["storefront"]
    return storefront


def _kind(name: str) -> GoalKind:
    if name not in KINDS:
        abort(400)
    return "synthetic" if name == "synthetic" else "human"


def _number(text: str) -> int:
    """Return a number of at most seven digits out of a request."""
    if not (text.isascii() and text.isdigit() and len(text) <= 7):
        abort(400)
    return int(text)
