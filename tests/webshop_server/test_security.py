"""What the shop does with input that nobody asked for."""

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.webshop_server.odd_shop import SCRIPT, odd_catalogue
from tests.webshop_server.shopper import Markup, Shopper
from webshop_server.app import LARGEST_BODY, create_app
from webshop_server.config import ShopConfig
from webshop_server.hosts import HostNames


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    return create_app(ShopConfig(catalogue=odd_catalogue(tmp_path_factory.mktemp("odd")), show_attributes=True))


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def item(app: Flask) -> Shopper:
    """On the page of the product with hostile texts."""
    return Shopper(app).search("odd shoes").click('b/0?#&"<1')


def every_page(shopper: Shopper) -> Iterator[str]:
    for name in ("description", "features", "attributes"):
        shopper.click(name)
        yield shopper.text
        shopper.click("< prev")
    shopper.click("'\"><b>")
    yield shopper.text
    yield shopper.search(SCRIPT).text
    yield shopper.click('b/0?#&"<1', "'\"><b>").buy().text


class TestText:
    def test_texts_of_products_never_become_markup(self, item: Shopper) -> None:
        for page in every_page(item):
            tags = Markup(page).tags
            assert [values.get("type") for tag, values in tags if tag == "script"] == ["application/json"]
            assert not any(tag == "b" or "onerror" in values for tag, values in tags)

    def test_the_state_cannot_be_left_by_a_closing_tag(self, item: Shopper) -> None:
        state = item.text.partition('id="state">')[2].partition("</script>")[0]

        assert not re.search("[<>&']", state)
        assert SCRIPT in item.state["text"]

    def test_a_template_in_a_text_is_text(self, item: Shopper) -> None:
        assert "`{{ 7*7 }}`" in item.text

    @pytest.mark.parametrize("words", [SCRIPT, '" autofocus onfocus="x', "${1}`"])
    def test_what_was_asked_for_comes_back_as_text(self, app: Flask, words: str) -> None:
        shopper = Shopper(app).search(words)
        (field,) = [values for tag, values in shopper.markup.tags if tag == "input"]

        assert field["value"] == words.lower()
        assert "onfocus" not in field


class TestAddresses:
    @pytest.mark.parametrize(
        "path", ["/s/nobody/0", "/s/x/0/search?q=tea", "/s/x/0/click?name=tea", "/s/fixed_x/0", "/s/fixed_999999/0"]
    )
    def test_an_unknown_visit_is_not_found(self, client: FlaskClient, path: str) -> None:
        response = client.get(path)

        assert response.status_code == 404
        assert "Choose something to shop for." in response.text

    @pytest.mark.parametrize("name", ["a.b", "a" * 65, "%00", "..%2f..", "ä", "a b"])
    def test_a_visit_has_a_name_of_letters_digits_and_strokes(self, client: FlaskClient, name: str) -> None:
        assert "There is nothing at this address." in client.get(f"/s/{name}/0").text

    @pytest.mark.parametrize("step", ["x", "-1", "1.5", "9" * 5000, "٣", "99999"])
    def test_a_page_that_does_not_exist_is_not_found(self, item: Shopper, step: str) -> None:
        visit = item.place.rpartition("/")[0]

        assert item.client.get(f"{visit}/{step}").status_code == 404
        assert item.client.post(f"{visit}/{step}/buy").status_code == 404

    @pytest.mark.parametrize("name", ["", "no such thing", "search", "x]", "[", "a [b]", "\ud800", "\x00", SCRIPT, "navy"])
    def test_what_is_not_on_a_page_cannot_be_clicked(self, item: Shopper, name: str) -> None:
        assert item.client.get(f"{item.place}/click?name={quote(name, errors='replace')}").status_code == 404

    @pytest.mark.parametrize("path", ["/?page=abc", "/?page=-1", "/?goals=nobody", "/?page=" + "9" * 5000])
    def test_nonsense_on_the_start_page_is_refused(self, client: FlaskClient, path: str) -> None:
        assert client.get(path).status_code == 400

    @pytest.mark.parametrize(
        "name", ["nothing.svg", "../../etc/passwd.svg", "%2e%2e/app.svg", "B000000001.png", ".svg", "%00.svg"]
    )
    def test_a_picture_is_found_by_its_product_only(self, client: FlaskClient, name: str) -> None:
        assert client.get(f"/pictures/{name}").status_code == 404

    @pytest.mark.parametrize("name", ["../app.py", "..%2fapp.py", "%2e%2e/templates/base.html", "/etc/passwd", "nothing.css"])
    def test_no_file_beside_the_static_ones_is_served(self, client: FlaskClient, name: str) -> None:
        assert client.get(f"/static/{name}", follow_redirects=True).status_code == 404

    @pytest.mark.parametrize("place", ["9:9", "0:99999", "x", "-1:0", "0:0:0", "9" * 5000 + ":0", "[]", "1e9:1"])
    def test_an_option_that_does_not_exist_leaves_the_picture_alone(self, client: FlaskClient, place: str) -> None:
        response = client.get(f"/pictures/B000000001.svg?o={place}")

        assert (response.status_code, response.mimetype) == (200, "image/svg+xml")


class TestLimits:
    def test_a_search_has_at_most_500_letters(self, app: Flask) -> None:
        shopper = Shopper(app)

        assert shopper.client.get(f"{shopper.place}/search?q={'a' * 501}").status_code == 400
        assert shopper.client.get(f"{shopper.place}/search?q={'a' * 500}").status_code == 200

    def test_a_large_body_is_refused(self, client: FlaskClient) -> None:
        assert client.post("/visits", data={"goal": "1" * LARGEST_BODY}).status_code == 413

    def test_pages_of_results_come_in_order_only(self, app: Flask) -> None:
        shopper = Shopper(app).search("shoes").click("next >", "next >")

        assert (shopper.state["url"].rpartition("/")[2], shopper.state["clickables"]) == (
            "3",
            ["back to search", "< prev", "next >"],
        )

    def test_the_store_of_visits_is_bounded(self, tmp_path: Path) -> None:
        app = create_app(ShopConfig(catalogue=odd_catalogue(tmp_path), most_visits=3))
        first = Shopper(app)
        for _ in range(3):
            Shopper(app)

        assert len(app.extensions["storefront"].visits) == 3
        assert first.client.get(first.place).status_code == 404


class TestBuying:
    def test_it_takes_a_form(self, item: Shopper) -> None:
        refused = item.client.get(f"{item.place}/click?name=Buy+Now")

        assert (refused.status_code, refused.headers["Allow"]) == (405, "POST")
        assert item.client.get(f"{item.place}/buy").status_code == 405

    def test_it_works_once(self, item: Shopper) -> None:
        first, second = (item.client.post(f"{item.place}/buy") for _ in range(2))

        assert first.location == second.location
        item.client.get(f"{item.place}/click?name=red")
        assert item.client.post(f"{item.place}/buy").location == first.location

    def test_it_takes_a_product(self, app: Flask) -> None:
        shopper = Shopper(app)

        assert shopper.client.post(f"{shopper.place}/buy").status_code == 404


class TestNames:
    @pytest.mark.parametrize(
        "host", ["localhost", "LOCALHOST.:3000", "127.0.0.1:3000", "[::1]:80", "shop.example", "192.168.0.5:3000"]
    )
    def test_the_shop_answers_to_its_own_names(self, tmp_path: Path, host: str) -> None:
        config = ShopConfig(catalogue=odd_catalogue(tmp_path), host_names=("Shop.Example", "192.168.0.5"))

        assert create_app(config).test_client().get("/", headers={"Host": host}).status_code == 200

    @pytest.mark.parametrize(
        "host", ["evil.example", "127.0.0.1.evil.example", "localhost@evil", "", "192.168.0.5", "[::2]", "0.0.0.0", "a b"]
    )
    @pytest.mark.parametrize("path", ["/", "/static/shop.css", "/nowhere", "/pictures/B000000001.svg"])
    def test_another_name_is_refused_so_that_no_other_site_can_pass_for_the_shop(
        self, client: FlaskClient, path: str, host: str
    ) -> None:
        response = client.get(path, headers={"Host": host})

        assert response.status_code == 400
        assert "This shop is not called" in response.text

    def test_a_shop_on_all_addresses_answers_to_every_address_and_to_no_other_name(self) -> None:
        names = HostNames(["0.0.0.0"])

        assert names.include("192.168.0.5:3000")
        assert names.include("[fe80::1]:3000")
        assert not names.include("evil.example")

    def test_the_sentence_names_what_was_asked_for_and_what_to_do(self, client: FlaskClient) -> None:
        page = client.get("/", headers={"Host": "mybox:3000"}).text

        assert "This shop is not called &#39;mybox&#39;." in page
        assert "serve it with --host-name NAME." in page


class TestHeaders:
    @pytest.mark.parametrize("path", ["/", "/nowhere", "/s/x/0", "/static/shop.css", "/pictures/B000000001.svg", "/visits"])
    def test_every_answer_is_locked_down(self, client: FlaskClient, path: str) -> None:
        with client.get(path) as response:
            assert response.headers["Content-Security-Policy"].startswith("default-src 'self';")
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert response.headers["Referrer-Policy"] == "no-referrer"
            assert "Set-Cookie" not in response.headers

    def test_pages_are_not_kept_by_browsers_and_pictures_are(self, client: FlaskClient, item: Shopper) -> None:
        assert client.get("/").headers["Cache-Control"] == "no-store"
        assert item.response.headers["Cache-Control"] == "no-store"
        assert "max-age" in client.get("/pictures/B000000001.svg").headers["Cache-Control"]


def test_a_request_cannot_write_lines_of_its_own_into_the_log(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="webshop_server"):
        app.test_client().get("/x%0A2026-01-01%20INFO%20faked")

        app.test_client().get(f"/?q={'x' * 100_000}")

    assert "\n" not in caplog.messages[0]
    assert "404" in caplog.messages[0]
    assert len(caplog.messages[1]) < 1100
