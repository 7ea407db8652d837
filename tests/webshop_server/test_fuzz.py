"""No request makes the shop fail."""

from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote_to_bytes

import pytest
from flask import Flask
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from werkzeug.test import create_environ, run_wsgi_app

from tests.webshop_server.odd_shop import SCRIPT, odd_catalogue
from webshop_server.app import create_app
from webshop_server.config import ShopConfig

Request = tuple[str, str, str, bytes]
"""Method, path, query and body."""
LETTERS: Final = "aZ09-_.,:;/\\%[](){}<>'\"`$&=?#+ \t\n\r\0\x7fé٣中\u2028\ud800\U0001f600"
LABELS = ["back to search", "< prev", "next >", "description", "features", "reviews", "attributes", "buy now", "red", "8", "9.5",
          "navy | grey", 'b/0?#&"<1', "b000000001", "b000000009", "a [b]", "'\"><b>", "search", SCRIPT]  # fmt: skip
texts = st.one_of(
    st.sampled_from([*LABELS, "odd shoes", "rubber sole", "../../etc/passwd", "%s%n", "0", "-1", "٣"]),
    st.text(LETTERS, max_size=12),
)
segments = texts.map(lambda text: quote(text, safe="", errors="surrogatepass"))
steps = st.one_of(st.integers(0, 30).map(str), segments)
visit_paths = st.tuples(st.just("/s/{visit}/"), steps, st.sampled_from(["", "/search", "/click", "/buy", "/", "//x"])).map(
    "".join
)
other_paths = st.one_of(
    st.sampled_from(["/", "/visits", "/static/shop.css", "/static/icon.svg"]),
    segments.map("/pictures/{}.svg".format),
    segments.map("/static/{}".format),
    st.tuples(segments, segments).map("/".join).map("/s/{}".format),
    st.lists(segments, max_size=4).map("/".join).map("/{}".format),
)
queries = st.lists(st.tuples(st.sampled_from(["q", "name", "page", "goals", "goal", "o"]), segments), max_size=3).map(
    lambda pairs: "&".join("=".join(pair) for pair in pairs)
)
requests = st.tuples(
    st.sampled_from(["GET", "GET", "GET", "POST", "HEAD", "PUT", "OPTIONS", "DELETE"]),
    st.one_of(visit_paths, other_paths),
    queries,
    st.binary(max_size=40),
)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    return create_app(ShopConfig(catalogue=odd_catalogue(tmp_path_factory.mktemp("odd")), show_attributes=True, most_steps=25))


def answers(app: Flask, wanted: list[Request]) -> list[int]:
    """Send requests of one visit as raw bytes, which no client would; return the statuses."""
    visit = app.test_client().post("/visits", data={"goal": "0"}).location.split("/")[2]
    return [status_of(app, (method, path.replace("{visit}", visit), query, body)) for method, path, query, body in wanted]


def status_of(app: Flask, request: Request) -> int:
    method, path, query, body = request
    kind = "application/x-www-form-urlencoded" if len(body) % 2 else "multipart/form-data; boundary=x"
    environ = create_environ(method=method, data=body, content_type=kind)
    environ |= {"PATH_INFO": unquote_to_bytes(path).decode("latin-1"), "QUERY_STRING": query}
    content, status, _ = run_wsgi_app(app, environ)
    for _ in content:
        pass
    content.close()
    return int(status.partition(" ")[0])


@given(st.lists(requests, min_size=5, max_size=5))
@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_some_requests_are_answered(app: Flask, wanted: list[Request]) -> None:
    assert max(answers(app, wanted)) < 500


@pytest.mark.slow
@given(st.lists(requests, min_size=20, max_size=20))
@settings(max_examples=500, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
def test_ten_thousand_requests_are_answered(app: Flask, wanted: list[Request]) -> None:
    assert max(answers(app, wanted)) < 500


def test_the_requests_reach_every_kind_of_page(app: Flask) -> None:
    wanted = [
        ("GET", "/s/{visit}/0/search", "q=odd+shoes", b""),
        ("GET", "/s/{visit}/1/click", "name=" + quote('b/0?#&"<1'), b""),
        ("POST", "/s/{visit}/2/buy", "", b""),
        ("GET", "/s/{visit}/3", "", b""),
    ]

    assert answers(app, wanted) == [200, 200, 303, 200]


def test_a_failure_would_be_seen(tmp_path: Path) -> None:
    app = create_app(ShopConfig(catalogue=odd_catalogue(tmp_path)))
    app.extensions["storefront"].catalogue.scorer = None

    assert answers(app, [("GET", "/s/{visit}/0/search", "q=odd", b""), ("GET", "/nowhere", "", b"")]) == [200, 404]
    bought = [("GET", "/s/{visit}/0/search", "q=alderway", b""), ("GET", "/s/{visit}/1/click", "name=b000000001", b"")]
    assert answers(app, [*bought, ("POST", "/s/{visit}/2/buy", "", b"")])[-1] == 500
