"""What a shopper sees and what actions do."""

from pathlib import Path

import pytest

from tests.webshop_server.small_shop import goal, small_catalogue
from webshop_server.engine.catalogue import Catalogue
from webshop_server.engine.pages import as_rich_text, index_page, item_page, results_page, sub_page
from webshop_server.engine.product import Product
from webshop_server.engine.session import Session

TOP = "Instruction: [SEP] i need quick drying shoes in red [SEP] Back to Search"
RICH_TOP = "Instruction:\ni need quick drying shoes in red\n[button] Back to Search [button_]\n"
LOOK = ["search[alderway trail shoes]", "click[b000000001]"]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    folder: Path = tmp_path_factory.mktemp("shop")
    return small_catalogue(folder)


def after(shop: Catalogue, *actions: str, **arguments: object) -> Session:
    session = Session(shop, goal(), "7", **arguments)  # type: ignore[arg-type]  # the keywords of Session
    for action in actions:
        session.act(action)
    return session


def test_the_first_page_has_the_instruction_and_the_search_bar(shop: Catalogue) -> None:
    session = after(shop)

    assert session.show("text") == "WebShop [SEP] Instruction: [SEP] i need quick drying shoes in red [SEP] Search"
    assert (session.page.has_search_bar, session.clickables, session.url) == (True, ["search"], "http://127.0.0.1:3000/7")


def test_results_list_products_in_their_order(shop: Catalogue) -> None:
    session = after(shop, "search[Alderway TRAIL]")

    assert session.show("text") == (
        f"{TOP} [SEP] Page 1 (Total results: 2) [SEP] Next > [SEP] B000000001 [SEP] Alderway Trail Shoes [SEP] $45.5"
        " [SEP] B000000002 [SEP] Alderway Winter Boots [SEP] $70.0 to $90.0"
    )
    assert session.clickables == ["back to search", "next >", "b000000001", "b000000002"]
    assert session.show("url") == "http://127.0.0.1:3000/search_results/7/alderway+trail/1"


def test_a_product_page_has_its_options(shop: Catalogue) -> None:
    session = after(shop, *LOOK)

    assert session.show("text_rich") == (
        f"{RICH_TOP}[button] < Prev [button_]\ncolor\n  [button] navy | grey [button_]\n  [button] red [button_]\nsize\n"
        "  [button] 8 [button_]\n  [button] 9.5 [button_]\nAlderway Trail Shoes\nPrice: $45.5\nRating: N.A.\n"
        "[button] Description [button_]\n[button] Features [button_]\n[button] Reviews [button_]\n[button] Buy Now [button_]\n"
    )


def test_a_chosen_option_is_marked_and_said(shop: Catalogue) -> None:
    session = after(shop, *LOOK, "click[red]", "click[9.5]")

    assert session.show("text_rich").startswith("You have clicked 9.5.\nYou have clicked red.\nInstruction:\n")
    assert "  [clicked button] red [clicked button_]\nsize\n  [button] 8 [button_]\n" in session.show("text_rich")
    assert session.url.endswith('/B000000001/alderway+trail+shoes/1/{"color": "red", "size": "9.5"}')


def test_a_second_choice_replaces_the_first(shop: Catalogue) -> None:
    assert after(shop, *LOOK, "click[8]", "click[9.5]").url.endswith('{"size": "9.5"}')


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("description", " [SEP] Light shoes for long walks."),
        ("features", " [SEP] Rubber sole. [SEP] Dries quickly."),
        ("reviews", ""),
        ("attributes", " [SEP] rubber sole [SEP] quick drying [SEP] fashion [SEP] trail shoes [SEP] Shoes › Men › Trail"),
    ],
)
def test_each_sub_page_shows_its_texts(shop: Catalogue, name: str, end: str) -> None:
    assert after(shop, *LOOK, f"click[{name}]", show_attributes=True).show("text") == f"{TOP} [SEP] < Prev{end}"


def test_attributes_are_hidden_unless_asked_for(shop: Catalogue) -> None:
    assert "attributes" not in after(shop, *LOOK).clickables


def test_prev_leads_back_step_by_step_and_forgets_the_choice(shop: Catalogue) -> None:
    session = after(shop, *LOOK, "click[red]", "click[features]")
    urls = []
    for _ in range(3):
        session.act("click[< prev]")
        urls.append(session.url.split("/")[3])

    assert urls == ["item_page", "search_results", "search_results"]
    session.act("click[b000000001]")
    assert session.url.endswith("/{}")


def test_a_product_that_was_looked_at_is_marked_until_the_shopper_is_back_at_the_search_bar(shop: Catalogue) -> None:
    session = after(shop, *LOOK, "click[< prev]")
    assert "[clicked button] B000000001 [clicked button_]" in session.show("text_rich")
    session.act("search[boots]")
    assert "[clicked button] B000000001" not in after(shop, *LOOK, "click[back to search]", "search[shoes]").show("text_rich")


def test_buying_ends_with_the_score(shop: Catalogue) -> None:
    session = after(shop, *LOOK, "click[red]")
    outcome = session.act("click[buy now]")

    assert (outcome.is_done, outcome.reward, session.clickables) == (True, 1.0, [])
    assert 'options [SEP] {"color": "red"} [SEP] attrs' in session.show("text")
    assert session.show("text").endswith("Your score (min 0.0, max 1.0) [SEP] 1.0 [SEP] Reward Details [SEP] None")
    assert session.url == "http://127.0.0.1:3000/done/7/B000000001/{'color': 'red'}"


@pytest.mark.parametrize(
    "action",
    ["", "search", "search[]", "Click[red]", " click[red]", "I click[red]", "click[red", "click[blue]", "click[search]",
     "search[a\nb]", "search[a][b]", "buy[red]", "click[< prev]"],
)  # fmt: skip
def test_what_cannot_be_done_changes_nothing(shop: Catalogue, action: str) -> None:
    session = after(shop, "search[tea]")
    before = session.url, session.show("text_rich")

    assert not session.act(action).is_valid
    assert (session.url, session.show("text_rich")) == before


@pytest.mark.parametrize("action", ["click[RED]", "click[red] and then", "click[red]\nclick[8]"])
def test_case_and_what_follows_do_not_matter(shop: Catalogue, action: str) -> None:
    session = after(shop, *LOOK, action)

    assert session.url.endswith('{"color": "red"}')


def test_every_admissible_action_but_the_search_is_valid(shop: Catalogue) -> None:
    actions = after(shop, *LOOK).actions()

    assert actions[:3] == ["search[...]", "click[back to search]", "click[< prev]"]
    assert all(after(shop, *LOOK).act(action).is_valid for action in actions)


def test_a_query_that_is_too_long_finds_nothing(shop: Catalogue) -> None:
    query = " ".join(f"x{number}" for number in range(2000))

    assert "(Total results: 0)" in after(shop, f"search[{query}]").show("text")


class TestQuirks:
    def test_next_goes_on_beyond_the_last_page_unless_fixed(self, shop: Catalogue) -> None:
        assert "Page 3 (Total results: 2)" in after(shop, "search[alderway]", *["click[next >]"] * 2).show("text")
        assert "next >" not in after(shop, "search[alderway]", quirks="fixed").clickables

    def test_one_can_search_everywhere_unless_fixed(self, shop: Catalogue) -> None:
        assert after(shop, *LOOK).act("search[tea]").is_valid
        session = after(shop, *LOOK, quirks="fixed")
        assert not session.act("search[tea]").is_valid
        assert "search[...]" not in session.actions()

    def test_prev_is_led_astray_by_the_query_unless_fixed(self, shop: Catalogue) -> None:
        actions = ["search[search_results shoes]", "click[b000000001]", "click[features]", "click[< prev]"]

        assert after(shop, *actions).url.endswith("/search_results/7/search_results+shoes/0")
        assert after(shop, *actions, quirks="fixed").url.endswith("/item_page/7/B000000001/search_results+shoes/1/{}")


class TestPages:
    def test_html_is_escaped(self, shop: Catalogue) -> None:
        product = Product(asin="<b>", name="<script>alert('x')</script>", options={'"': ["<i>"]})
        session = after(shop)
        session._enter(item_page("a & b", product, show_attributes=False), "")

        html = session.show("html")
        assert "<script>" not in html
        assert "a &amp; b" in html
        assert 'name="&quot;" value="&lt;i&gt;"' in html

    def test_a_chosen_option_is_checked_in_html(self, shop: Catalogue) -> None:
        assert 'value="red" checked>red</label>' in after(shop, *LOOK, "click[red]").show("html")

    def test_texts_that_show_nothing_are_left_out(self) -> None:
        page = sub_page("i", Product(asin="a", name="n", bullet_points=["", "x", "\n", "   "]), "Features")

        assert page.text.endswith("< Prev [SEP]  [SEP] x [SEP] ")
        assert as_rich_text(page, "", ()).endswith("[button] < Prev [button_]\n \n x\n \n")

    def test_of_two_things_with_one_name_the_last_is_meant_and_the_first_keeps_its_place(self) -> None:
        product = Product(asin="a", name="n", options={"color": ["red", "description"], "trim": ["red"]})
        clickables = item_page("i", product, show_attributes=False).clickables

        assert list(clickables) == ["back to search", "< prev", "description", "features", "reviews", "buy now", "red"]
        assert clickables["red"].group == "trim"

    def test_later_pages_have_a_way_back(self) -> None:
        assert "< prev" in results_page("i", [], 2, 11, has_next=False).clickables
        assert "< prev" not in results_page("i", [], 1, 11, has_next=False).clickables

    def test_the_search_button_is_on_the_first_page_only(self) -> None:
        assert list(index_page("i").clickables) == ["search"]
