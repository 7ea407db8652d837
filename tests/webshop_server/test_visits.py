"""Visits remember every page that was seen, and the store keeps a bounded number of visits."""

import threading
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.webshop_server.small_shop import goal, small_catalogue
from webshop_server.config import ShopConfig
from webshop_server.engine.catalogue import Catalogue
from webshop_server.errors import VisitError
from webshop_server.past_visit import Errand, PastVisit
from webshop_server.visit_store import VisitStore
from webshop_server.visits import Arrival, Visit

LOOK = ("search[alderway trail shoes]", "click[b000000001]")
CONFIG = ShopConfig(catalogue=Path("unused"))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    return small_catalogue(tmp_path_factory.mktemp("shop"))


class SlowShop:
    """A shop that lets other threads go ahead in the middle of a search."""

    def __init__(self, shop: Catalogue) -> None:
        self.scorer = shop.scorer
        self.product = shop.product
        self._shop = shop

    def search(self, query: str) -> Sequence[str]:
        time.sleep(0.01)
        return self._shop.search(query)


def visit(shop: Catalogue | SlowShop, config: ShopConfig = CONFIG) -> Visit:
    return Visit("v", Errand(goal=goal(), kind="human", number=7, split="train"), shop, config)


def walk(through: Visit, *actions: str, start: int = 0) -> Arrival:
    arrival = through.look(start)
    for action in actions:
        arrival = through.act(arrival.step, action)
    return arrival


def store_of(most: int, clock: Callable[[], float] = lambda: 0.0, most_bytes: int = 10**9) -> VisitStore:
    return VisitStore(most=most, most_bytes=most_bytes, idle_seconds=60.0, clock=clock)


class TestVisit:
    def test_an_action_leads_to_a_new_step(self, shop: Catalogue) -> None:
        arrival = walk(visit(shop), *LOOK)

        assert (arrival.step, arrival.turn, arrival.session.asin) == (2, 2, "B000000001")

    def test_the_same_action_from_the_same_page_is_the_same_step(self, shop: Catalogue) -> None:
        here = visit(shop)
        first, second = walk(here, *LOOK), walk(here, *LOOK)

        assert first.step == second.step

    def test_an_earlier_page_stays_what_it_was(self, shop: Catalogue) -> None:
        here = visit(shop)
        item = walk(here, *LOOK)
        red = here.act(item.step, "click[red]")
        size = here.act(item.step, "click[8]")

        assert here.look(red.step).session.chosen == {"color": "red"}
        assert here.look(size.step).session.chosen == {"size": "8"}
        assert here.look(item.step).session.chosen == {}

    def test_what_cannot_be_done_makes_no_step(self, shop: Catalogue) -> None:
        here = visit(shop)
        arrival = here.act(0, "click[red]")

        assert (arrival.step, arrival.outcome.is_valid) == (0, False)
        assert here.act(0, "search[tea]").step == 1

    def test_a_step_that_does_not_exist_is_refused(self, shop: Catalogue) -> None:
        with pytest.raises(VisitError, match="no page 9"):
            visit(shop).act(9, "search[tea]")

    def test_a_visit_has_a_limit_of_pages(self, shop: Catalogue) -> None:
        here = visit(shop, replace(CONFIG, most_steps=2))
        walk(here, *LOOK)

        with pytest.raises(VisitError, match="led to 2 pages, which is the limit"):
            here.act(2, "click[red]")

    def test_after_the_purchase_every_new_action_leads_to_it(self, shop: Catalogue) -> None:
        here = visit(shop)
        done = walk(here, *LOOK, "click[red]", "click[buy now]")

        assert here.is_over
        assert here.act(2, "click[8]").step == done.step
        assert here.act(2, "click[buy now]").outcome.reward == 1.0
        assert here.look(2).session.page.name == "item_page"

    def test_a_purchase_is_reported_once_without_the_ways_that_were_taken_back(self, shop: Catalogue) -> None:
        reports: list[PastVisit] = []
        here = visit(shop, replace(CONFIG, on_end=reports.append))
        walk(here, *LOOK, "click[8]")
        walk(here, "search[tea]")
        walk(here, "click[red]", "click[buy now]", start=2)
        here.act(3, "click[buy now]")
        here.end("idle")

        (past,) = reports
        assert [turn.action for turn in past.turns] == [*LOOK, "click[red]", "click[buy now]"]
        assert [turn.reward for turn in past.turns] == [0.0, 0.0, 0.0, 1.0]
        assert past.turns[0].observation.startswith("WebShop [SEP]")
        assert (past.score, past.ending) == (1.0, "purchase")

    def test_a_visit_that_was_given_up_is_reported_up_to_the_page_that_was_shown_last(self, shop: Catalogue) -> None:
        reports: list[PastVisit] = []
        here = visit(shop, replace(CONFIG, on_end=reports.append))
        walk(here, *LOOK, "click[8]")
        here.look(2)
        here.end("idle")
        here.end("closed")

        (past,) = reports
        assert [turn.action for turn in past.turns] == [*LOOK]
        assert (past.score, past.ending) == (0.0, "idle")

    def test_a_visit_in_which_nothing_was_done_is_not_reported(self, shop: Catalogue) -> None:
        reports: list[PastVisit] = []
        here = visit(shop, replace(CONFIG, on_end=reports.append))
        here.look(0)
        here.end("idle")

        assert reports == []

    def test_it_takes_about_as_much_memory_as_it_says(self, shop: Catalogue) -> None:
        before_it, here = visit(shop), visit(shop)
        for number in range(300):
            before_it.act(0, f"search[{number:0500}]")  # the catalogue remembers searches, too
        tracemalloc.start()
        before, told = tracemalloc.get_traced_memory()[0], here.num_bytes
        for number in range(300):
            here.act(0, f"search[{number:0500}]")
        taken, told = tracemalloc.get_traced_memory()[0] - before, here.num_bytes - told
        tracemalloc.stop()

        assert 0.7 * taken < told < 1.5 * taken

    def test_many_threads_at_once_get_one_step_for_one_action(self, shop: Catalogue) -> None:
        here, found = visit(SlowShop(shop)), set()
        threads = [threading.Thread(target=lambda: found.add(here.act(0, "search[tea]").step)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert found == {1}


class TestStore:
    def test_ids_cannot_be_guessed_and_fit_into_addresses(self, shop: Catalogue) -> None:
        store = store_of(100, lambda: 0.0)
        ids = {store.add(lambda name: Visit(name, Errand(goal=goal()), shop, CONFIG)).id for _ in range(50)}

        assert len(ids) == 50
        assert all(len(name) == 22 and name.replace("-", "").replace("_", "").isalnum() for name in ids)

    def test_the_visit_that_was_idle_longest_makes_room(self, shop: Catalogue) -> None:
        store = store_of(2, lambda: 0.0)
        first, second = (store.add(lambda name: Visit(name, Errand(goal=goal()), shop, CONFIG)) for _ in range(2))
        store.get(first.id)
        store.add(lambda name: Visit(name, Errand(goal=goal()), shop, CONFIG))

        assert len(store) == 2
        assert store.get(first.id) is first
        with pytest.raises(VisitError, match="unknown, or was idle for too long"):
            store.get(second.id)

    def test_an_idle_visit_is_forgotten_and_use_keeps_one(self, shop: Catalogue) -> None:
        now = 0.0
        store = store_of(10, lambda: now)
        used, idle = (store.add(lambda name: Visit(name, Errand(goal=goal()), shop, CONFIG)) for _ in range(2))
        now = 50.0
        store.get(used.id)
        now = 100.0

        assert store.get(used.id) is used
        assert len(store) == 1
        with pytest.raises(VisitError):
            store.get(idle.id)

    def test_visits_that_take_too_much_memory_make_room(self, shop: Catalogue) -> None:
        store = store_of(1000, most_bytes=100_000)
        visits = [store.add(lambda name: Visit(name, Errand(goal=goal()), shop, CONFIG)) for _ in range(10)]
        for number in range(200):
            store.get(visits[-1].id).act(0, f"search[{number:0300}]")
        store.get(visits[-1].id)

        assert len(store) < 10
        assert store.num_bytes <= visits[-1].num_bytes + 100_000
        assert store.get(visits[-1].id) is visits[-1]
        with pytest.raises(VisitError):
            store.get(visits[0].id)

    def test_what_visits_take_is_given_back_when_they_go(self, shop: Catalogue) -> None:
        now = 0.0
        store = store_of(2, lambda: now)
        for _ in range(5):
            store.get(store.add(lambda name: Visit(name, Errand(goal=goal()), shop, CONFIG)).id).act(0, "search[tea]")
        now = 100.0
        with pytest.raises(VisitError):
            store.get("nobody")

        assert (len(store), store.num_bytes) == (0, 0)

    def test_every_visit_that_goes_is_reported_with_the_reason(self, shop: Catalogue) -> None:
        now, reports = 0.0, list[PastVisit]()
        store = store_of(2, lambda: now)
        config = replace(CONFIG, on_end=reports.append)

        def shop_for(words: str) -> None:
            store.add(lambda name: Visit(name, Errand(goal=goal()), shop, config)).act(0, f"search[{words}]")

        for words in ("green", "black", "tea"):
            shop_for(words)
        now = 100.0
        shop_for("shoes")
        store.close()

        endings = [(past.turns[0].action, past.ending) for past in reports]
        assert endings == [
            ("search[green]", "crowded out"),
            ("search[black]", "idle"),
            ("search[tea]", "idle"),
            ("search[shoes]", "closed"),
        ]
        assert len(store) == 0
