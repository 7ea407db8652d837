"""What people and programs find on the pages of the shop."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from tests.webshop_server.odd_shop import odd_catalogue
from tests.webshop_server.shopper import Markup, Shopper
from webshop_server.app import create_app
from webshop_server.config import ShopConfig
from webshop_server.engine.buyer import buy
from webshop_server.engine.generator import generate_catalogue
from webshop_server.engine.session import Session
from webshop_server.errors import ServingError
from webshop_server.fragments import Fragments
from webshop_server.past_visit import Errand
from webshop_server.storefront import PER_PAGE, Storefront


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> ShopConfig:
    folder = tmp_path_factory.mktemp("shop") / "catalogue"
    generate_catalogue(folder, 60)
    return ShopConfig(catalogue=folder, seed=1)


@pytest.fixture(scope="module")
def app(config: ShopConfig) -> Flask:
    return create_app(config)


@pytest.fixture
def shopper(app: Flask) -> Shopper:
    return Shopper(app)


def storefront(app: Flask) -> Storefront:
    found: Storefront = app.extensions["storefront"]
    return found


class TestStart:
    def test_it_lists_goals_with_a_form_for_each(self, app: Flask) -> None:
        page = app.test_client().get("/").text

        assert storefront(app).errand("human", 0).goal.instruction_text in page.replace("&#39;", "'")
        assert page.count("Shop for this") == PER_PAGE

    def test_words_are_searched_for_in_all_instructions(self, app: Flask) -> None:
        wanted = storefront(app).errand("human", 77).goal.instruction_text
        found = storefront(app).goal_page("human", wanted.upper(), 1)

        assert 77 in [errand.number for errand in found.errands]
        assert all(word in errand.goal.instruction_text.lower() for errand in found.errands for word in wanted.lower().split())
        assert "No errands here." in app.test_client().get("/?q=zeppelin").text

    def test_a_search_says_when_it_did_not_look_at_all_goals(self, config: ShopConfig, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("webshop_server.storefront.MOST_SEARCHED", 10)

        assert "among the first 10 of 120." in create_app(config).test_client().get("/?q=for").text

    @pytest.mark.parametrize("kind", ["human", "synthetic"])
    def test_pages_follow_each_other_without_gap_and_end(self, app: Flask, kind: str) -> None:
        pages = [storefront(app).goal_page(kind, "", number) for number in (1, 2, 9_999_999)]  # type: ignore[arg-type]

        assert [errand.number for page in pages[:2] for errand in page.errands] == list(range(2 * PER_PAGE))
        assert pages[2].number == pages[2].num_pages
        assert pages[2].errands[-1].number == storefront(app).num_goals(kind) - 1  # type: ignore[arg-type]

    def test_the_goals_that_are_listed_first_can_be_chosen(self, config: ShopConfig) -> None:
        app = create_app(replace(config, goals="synthetic"))
        visit = app.test_client().post("/visits", data={"goal": "5"}).location.split("/")[2]

        assert app.extensions["storefront"].visits.get(visit).errand.kind == "synthetic"

    def test_a_goal_can_be_drawn_and_the_seed_repeats_the_draws(self, config: ShopConfig) -> None:
        draws = []
        for seed in (5, 5, 6):
            front = Storefront(replace(config, seed=seed))
            draws.append([front.random_errand("human").number for _ in range(8)])

        assert draws[0] == draws[1] != draws[2]

    @pytest.mark.parametrize(("goal", "status"), [("99999", 404), ("-1", 400), ("x", 400), ("9" * 5000, 400), ("²", 400)])
    def test_a_goal_that_does_not_exist_is_told_so(self, app: Flask, goal: str, status: int) -> None:
        assert app.test_client().post("/visits", data={"goal": goal}).status_code == status


class TestVisit:
    def test_every_page_has_the_observation_of_the_text_environment(self, app: Flask, shopper: Shopper) -> None:
        goal = storefront(app).errand("human", 0).goal
        session = Session(storefront(app).catalogue, goal, "0")
        actions = buy(storefront(app).catalogue, goal)
        tour = ["search[home]", "click[next >]", "click[< prev]", "click[back to search]", *actions[:-1]]
        for action in [*tour, "click[features]", "click[< prev]", "click[reviews]", "click[< prev]", "click[buy now]"]:
            outcome = session.act(action)
            state = shopper.act(action).state
            assert state["text"] == session.show("text")
            assert state["text_rich"] == session.show("text_rich")
            assert (state["url"], state["clickables"], state["actions"]) == (session.url, session.clickables, session.actions())
            assert (state["reward"], state["done"]) == (outcome.reward, outcome.is_done)

        assert state["reward"] == 1.0

    def test_what_can_be_clicked_is_marked_with_its_label(self, shopper: Shopper) -> None:
        assert shopper.markup.labels == {"search"}
        shopper.search("home")
        assert shopper.markup.labels == set(shopper.state["clickables"])
        shopper.click(shopper.state["clickables"][-1])
        assert shopper.markup.labels == set(shopper.state["clickables"])

    def test_a_search_for_nothing_stays_where_it_is_and_says_why(self, shopper: Shopper) -> None:
        shopper.search("")

        assert (shopper.state["step"], shopper.state["valid_action"]) == (0, False)
        assert "Type what you are looking for." in shopper.text

    def test_brackets_and_line_breaks_do_not_spoil_a_search(self, shopper: Shopper) -> None:
        assert shopper.search("desk [lamp]\nblack").state["page"] == "search_results"

    def test_the_back_button_and_a_reload_do_no_harm(self, shopper: Shopper) -> None:
        shopper.search("home")
        results = shopper.address
        shopper.click(shopper.state["clickables"][-1])
        item = shopper.state
        shopper.open(results)
        shopper.click(shopper.state["clickables"][-2])
        shopper.open(f"{shopper.place.rpartition('/')[0]}/{item['step']}")

        assert shopper.state == item

    def test_a_chosen_option_is_marked_and_the_picture_has_its_colour(self, tmp_path: Path) -> None:
        shopper = Shopper(create_app(ShopConfig(catalogue=odd_catalogue(tmp_path)))).search("alderway trail")
        shopper.click("b000000001", "navy | grey", "8")
        marked = [values["data-click"] for _, values in shopper.markup.tags if values.get("aria-current") == "true"]
        pictures = [values["src"] for tag, values in shopper.markup.tags if tag == "img"]

        assert marked == ["navy | grey", "8"]
        assert pictures[-1] == "/pictures/B000000001.svg?o=0:0"

    def test_products_that_were_looked_at_are_marked(self, shopper: Shopper) -> None:
        shopper.search("home")
        assert "Viewed" not in shopper.text
        shopper.click(shopper.state["clickables"][-1], "< prev")
        assert shopper.text.count("Viewed") == 1

    def test_the_done_page_explains_every_part(self, shopper: Shopper, app: Flask) -> None:
        goal = storefront(app).errand("human", 0).goal
        for action in buy(storefront(app).catalogue, goal):
            shopper.act(action)

        assert "<span>1.00</span>" in shopper.text
        for part in (*goal.attributes, *goal.options, f"at most ${goal.price_upper:.2f}", "Type"):
            assert f">{part}</t" in shopper.text.replace("&#34;", '"')

    def test_an_option_that_nobody_can_choose_is_no_link(self, tmp_path: Path) -> None:
        shopper = Shopper(create_app(ShopConfig(catalogue=odd_catalogue(tmp_path))))
        shopper.search("odd shoes").click('b/0?#&"<1')

        assert "a [b]" not in shopper.markup.links
        assert shopper.text.count('title="Cannot be chosen here"') == 4
        assert shopper.click("red").state["url"].endswith('{"trim": "red"}')

    def test_hidden_attributes_have_a_page_only_if_asked_for(self, config: ShopConfig, shopper: Shopper) -> None:
        shopper.search("home").click(shopper.state["clickables"][-1])
        assert "attributes" not in shopper.markup.links
        open_shopper = Shopper(create_app(replace(config, show_attributes=True))).search("home")
        open_shopper.click(open_shopper.state["clickables"][-1], "attributes")
        assert open_shopper.state["page"] == "item_sub_page"

    def test_the_score_can_be_kept_from_the_shopper(self, config: ShopConfig) -> None:
        shopper = Shopper(create_app(replace(config, show_score=False))).search("home")
        shopper.click(shopper.state["clickables"][-1]).buy()

        assert "reward" not in shopper.state
        assert "score" not in shopper.text.partition("<script")[0].lower()

    def test_repaired_quirks_have_the_search_bar_on_the_first_page_only(self, config: ShopConfig) -> None:
        shopper = Shopper(create_app(replace(config, quirks="fixed"))).search("home")

        assert [form for form in shopper.markup.forms if form.get("role") == "search"] == []
        assert shopper.client.get(f"{shopper.place}/search?q=tea").status_code == 404


class TestFragments:
    def test_another_visit_gets_links_of_its_own_in_what_was_written_before(self, app: Flask) -> None:
        ann, bob = (Shopper(app).search("home") for _ in range(2))
        label = ann.state["clickables"][-1]
        for shopper in (ann, bob):
            shopper.click(label, "features", "< prev", "< prev")

        assert ann.text != bob.text
        assert ann.text.replace(ann.place, bob.place) == bob.text

    def test_a_page_is_the_same_whether_its_parts_were_kept_or_not(self, config: ShopConfig) -> None:
        pages = []
        for most in (0, 10_000):
            app = create_app(config)
            app.extensions["storefront"].fragments = Fragments(most)
            shopper = Shopper(app)
            place = shopper.place.rpartition("/")[0]
            for action in buy(storefront(app).catalogue, storefront(app).errand("human", 0).goal)[:-1] * 2:
                shopper.act(action)
                pages.append(shopper.text.replace(place, ""))

        assert pages[: len(pages) // 2] == pages[len(pages) // 2 :]

    def test_no_more_than_asked_for_are_kept(self) -> None:
        fragments = Fragments(3)
        for number in range(10):
            fragments.get(number, "/s/x/1", str)

        assert len(fragments) <= 3


class TestForPeople:
    def test_pages_need_no_script_and_nothing_from_elsewhere(self, shopper: Shopper) -> None:
        shopper.search("home").click(shopper.state["clickables"][-1])
        sources = [values.get("src") or values.get("href") or values.get("action") or "/" for _, values in shopper.markup.tags]

        assert all(source.startswith(("/", "#")) and not source.startswith("//") for source in sources)
        assert [values.get("type") for tag, values in shopper.markup.tags if tag == "script"] == ["application/json"]
        assert not any(name.startswith("on") or name == "style" for _, values in shopper.markup.tags for name in values)

    def test_every_field_has_a_label_and_every_picture_an_alternative(self, app: Flask, shopper: Shopper) -> None:
        for text in (app.test_client().get("/").text, shopper.text, shopper.search("home").text):
            tags = Markup(text).tags
            labelled = {values.get("for") for tag, values in tags if tag == "label"}
            fields = {values.get("id") for tag, values in tags if tag == "input" and values.get("type") != "hidden"}
            assert fields <= labelled
            assert all("alt" in values for tag, values in tags if tag == "img")

    def test_there_is_a_link_past_the_header(self, shopper: Shopper) -> None:
        links = [values["href"] for tag, values in shopper.markup.tags if tag == "a"]

        assert links[0] == "#main"
        assert ("main", "main") in {(tag, values.get("id")) for tag, values in shopper.markup.tags}

    def test_the_style_has_a_dark_side_a_narrow_side_and_a_visible_focus(self, app: Flask) -> None:
        with app.test_client().get("/static/shop.css") as response:
            style = response.text

        assert "prefers-color-scheme: dark" in style
        assert ":focus-visible" in style
        assert "max-width: 720px" in style


def test_prices_are_written_with_cents(tmp_path: Path) -> None:
    shopper = Shopper(create_app(ShopConfig(catalogue=odd_catalogue(tmp_path)))).search("rubber sole")

    assert "$1,299.00 – $2,000.00" in shopper.text


def test_a_goal_given_in_full_can_be_shopped_for(app: Flask) -> None:
    front = storefront(app)
    visit = front.open_visit(Errand(goal=front.errand("synthetic", 3).goal))

    assert visit.errand.task_id.startswith('{"asin"')
    assert app.test_client().get(f"/s/{visit.id}/0").status_code == 200


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"goals": "humans"}, "The setting goals is 'humans'; it must be one of human, synthetic."),
        ({"quirks": "none"}, "The setting quirks is 'none'; it must be one of upstream, fixed."),
        ({"most_visits": 0}, "The setting most_visits is 0; it must be 1 or more."),
        ({"most_bytes": -1}, "The setting most_bytes is -1; it must be 1 or more."),
        ({"host_names": ["shop:80"]}, "The host name is 'shop:80'; it must be a bare name or address, such as shop.example."),
        ({"idle_seconds": float("nan")}, "The setting idle_seconds is nan; it must be more than 0."),
    ],
)
def test_settings_that_make_no_sense_are_refused(tmp_path: Path, settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ServingError, match=re.escape(sentence)):
        ShopConfig(catalogue=tmp_path, **settings)
