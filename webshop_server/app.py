"""create_app(): the shop as a Flask application.

Addresses:

- ``GET /`` lists goals (``?goals=human|synthetic&q=words&page=1``).
- ``POST /visits`` (``goals=human|synthetic``, ``goal=number``, or no ``goal`` for a random one) begins a visit and redirects to
  its first page.
- ``GET /s/VISIT/STEP`` shows a page again. Step 0 is the page with the search bar.
- ``GET /s/VISIT/STEP/search?q=words`` is the action ``search[words]`` on that page, and shows the page that it leads to.
- ``GET /s/VISIT/STEP/click?name=label`` is ``click[label]`` on that page, and shows the page that it leads to.
- ``POST /s/VISIT/STEP/buy`` is ``click[buy now]``; it redirects to the page of the purchase.
- ``GET /pictures/ASIN.svg`` is the picture of a product (``?o=group:index``: with that option).

In a visit, every page has what programs need: the element that does ``click[label]`` has ``data-click="label"``, the search
field, in a form of its own, has the id ``search_input``, and the JSON in ``<script type="application/json" id="state">`` is

    {"step": 3, "turn": 3, "page": "item_page", "url": ..., "text": ..., "text_rich": ..., "clickables": [...], "actions": [...],
     "has_search_bar": false, "valid_action": true, "done": false, "reward": 0.0, "parts": null}

as ``mise/WebShop-v0`` has them after the same actions; ``reward`` and ``parts`` only if the shop shows scores.
"""

import functools
import logging
import time
from collections.abc import Callable
from typing import Final

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException
from werkzeug.routing import BaseConverter

from webshop_server.config import ShopConfig
from webshop_server.errors import CatalogueError, GoalError, VisitError
from webshop_server.hosts import HostNames, host_in
from webshop_server.pages import pages, render
from webshop_server.storefront import Storefront

LARGEST_BODY: Final = 16 * 1024
"""Bytes that a request may send."""
_LONGEST_LOGGED: Final = 1000
_LONGEST_NAME: Final = 100
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_ADVICE: Final = {
    400: "The shop cannot make sense of this address.",
    404: "There is nothing at this address.",
    405: "This address answers another kind of request.",
    413: "That is more than the shop accepts.",
}

logger = logging.getLogger(__name__)


class _VisitConverter(BaseConverter):
    regex = "[A-Za-z0-9_-]{1,64}"


class _StepConverter(BaseConverter):
    regex = "[0-9]{1,7}"


def create_app(config: ShopConfig, clock: Callable[[], float] = time.monotonic) -> Flask:
    """Return the shop as a WSGI application; ``app.extensions["storefront"]`` is what it shows.

    Args:
        config: Settings.
        clock: Returns seconds that never go back; idle visits are forgotten by it.

    Raises:
        CatalogueError: The folder of the catalogue is not one.
    """
    app = Flask("webshop_server")
    app.config.update(MAX_CONTENT_LENGTH=LARGEST_BODY, TEMPLATES_AUTO_RELOAD=False)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.globals.clear()  # templates see what they are handed, and no page pays for the rest
    app.extensions["storefront"] = Storefront(config, clock)
    app.url_map.converters.update(visit=_VisitConverter, step=_StepConverter)
    app.register_blueprint(pages)
    app.before_request(functools.partial(_refuse_other_names, HostNames(config.host_names)))
    app.after_request(_finish)
    app.register_error_handler(HTTPException, _explain)
    for missing in (CatalogueError, GoalError, VisitError):
        app.register_error_handler(missing, _not_found)
    for name in app.jinja_env.list_templates():
        app.jinja_env.get_template(name)
    return app


def _refuse_other_names(names: HostNames) -> Response | None:
    header = request.environ.get("HTTP_HOST", "")
    if names.include(header):
        return None
    name = host_in(header)[:_LONGEST_NAME]
    sentence = f"This shop is not called {name!r}. Ask for it by its address, or serve it with --host-name NAME."
    return render("problem.html", title="Another name", sentence=sentence, status=400)


def _finish(response: Response) -> Response:
    for name, value in _HEADERS.items():
        response.headers.add(name, value)
    if "Cache-Control" not in response.headers:
        response.headers.add("Cache-Control", "no-store")
    if logger.isEnabledFor(logging.INFO):
        logger.info("%s %r %d", request.method, request.full_path.rstrip("?")[:_LONGEST_LOGGED], response.status_code)
    return response


def _explain(error: HTTPException) -> Response:
    if error.response is not None or error.code is None or error.code < 400:
        return error.get_response()  # type: ignore[return-value]  # a redirect, such as to an address with another slash
    advice = _ADVICE.get(error.code, error.name + ".")
    response = render("problem.html", title=error.name, sentence=advice, status=error.code)
    response.headers.extend((name, value) for name, value in error.get_headers() if name == "Allow")
    return response


def _not_found(error: Exception) -> Response:
    return render("problem.html", title="Not here", sentence=str(error), status=404)
