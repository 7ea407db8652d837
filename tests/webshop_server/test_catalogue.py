"""Catalogues: importing files, generating, and what is wrong with a folder."""

import gzip
import json
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.webshop_server.small_shop import ATTRIBUTES, BOOTS, HUMAN, SHOES, TEA, small_catalogue, write_files
from webshop_server.engine.buyer import buy
from webshop_server.engine.catalogue import Catalogue
from webshop_server.engine.catalogue_writer import CatalogueWriter, Progress
from webshop_server.engine.generator import default_catalogue, generate_catalogue, generated_records
from webshop_server.engine.goal import NO_LIMIT
from webshop_server.engine.goal_list import KINDS, split_ranges
from webshop_server.engine.importer import import_catalogue, read_colours
from webshop_server.engine.json_stream import JsonFile
from webshop_server.engine.product import Product, Repairs, product_from_record
from webshop_server.errors import CatalogueError


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    return small_catalogue(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    folder = tmp_path_factory.mktemp("generated") / "shop"
    generate_catalogue(folder, 60)
    return Catalogue(folder)


def interrupt_at(stage: str) -> Progress:
    """Return a progress report that ends the work, as Ctrl-C would, in a stage."""

    def report(what: str, _share: float) -> None:
        if what == stage:
            raise KeyboardInterrupt

    return report


KILLED = """
import os, sys
from pathlib import Path
from webshop_server.engine.generator import generate_catalogue

def die(what, share):
    if what == sys.argv[2] and share > 0.7:
        os.kill(os.getpid(), 9)

generate_catalogue(Path(sys.argv[1]), 2500, progress=die)
"""


class TestProducts:
    def test_a_record_becomes_a_product(self, shop: Catalogue) -> None:
        product = shop.product("B000000001")

        assert product == Product(
            asin="B000000001",
            name="Alderway Trail Shoes",
            description="Light shoes for long walks.",
            bullet_points=["Rubber sole.", "Dries quickly."],
            price=45.5,
            price_tag="$45.5",
            options={"color": ["navy | grey", "red"], "size": ["8", "9.5"]},
            attributes=["rubber sole", "quick drying"],
            category="fashion",
            query="trail shoes",
            product_category="Shoes › Men › Trail",
            image="shoes.svg",
        )
        assert product.contents == (
            "alderway trail shoes light shoes for long walks. rubber sole. color: navy | grey, red, and size: 8, 9.5"
        )

    @pytest.mark.parametrize(
        ("pricing", "price", "tag", "is_repaired"),
        [
            ("$1,299.00", 1299.0, "$1299.0", False),
            ("", 100.0, "$100.0", False),
            (None, 100.0, "$100.0", False),
            ("12.99", 100.0, "$100.0", True),
            ("$", 100.0, "$100.0", True),
            (["$5"], 100.0, "$100.0", True),
            ("$4.99 ($0.25 / Ounce)", 4.79, "$4.99 to $0.25", False),
            ("$4.99 $1.2.3", 4.99, "$4.99", True),
        ],
    )
    def test_prices_are_read_or_repaired(self, pricing: Any, price: float, tag: str, is_repaired: bool) -> None:
        repairs = Repairs()
        product = product_from_record(TEA | {"pricing": pricing}, None, repairs)

        assert (product.price_tag, bool(repairs.counts)) == (tag, is_repaired)
        assert product.price == price or " to " in tag

    def test_the_price_within_a_range_is_the_same_everywhere(self, shop: Catalogue) -> None:
        assert (shop.product("B000000002").price, shop.product("B000000002").price_tag) == (89.61, "$70.0 to $90.0")

    def test_a_product_that_the_attribute_file_does_not_know_has_a_dummy(self, shop: Catalogue) -> None:
        assert shop.product("B000000002").attributes == ["DUMMY_ATTR"]

    def test_an_unknown_asin_is_refused(self, shop: Catalogue) -> None:
        with pytest.raises(CatalogueError, match="no product 'B9'"):
            shop.product("B9")


class TestImport:
    def test_bad_records_are_left_out_or_repaired_and_counted(self, tmp_path: Path) -> None:
        bad = [
            TEA,
            7,
            {"name": "x"},
            TEA | {"asin": "nan"},
            TEA | {"asin": "B00000000099"},
            SHOES | {"name": None, "pricing": "?"},
        ]
        bad.append(BOOTS | {"small_description": [1, "x"], "customization_options": {"Size": [{"value": 3}], "Fit": None}})
        import_catalogue(write_files(tmp_path, [TEA, *bad]), tmp_path / "shop")
        shop = Catalogue(tmp_path / "shop")

        assert len(shop) == 3
        assert shop.product("B000000002").options == {"size": []}
        assert shop.problems() == {
            "asin is nan, longer than 10 characters, or not printable": (2, "B00000000099"),
            "asin is there already": (1, "B000000003"),
            "customization_options has values that are not text": (1, "B000000002"),
            "no asin": (1, "None"),
            "not an object": (1, "None"),
            "pricing cannot be read": (1, "B000000001"),
            "small_description has entries that are not text": (1, "B000000002"),
        }

    def test_gzipped_files_are_read_too(self, tmp_path: Path) -> None:
        sources = write_files(tmp_path)
        packed = tmp_path / "items.json.gz"
        packed.write_bytes(gzip.compress(sources.items.read_bytes()))
        import_catalogue(replace(sources, items=packed), tmp_path / "shop")

        assert len(Catalogue(tmp_path / "shop")) == 3

    def test_the_limit_keeps_the_first_products(self, tmp_path: Path) -> None:
        import_catalogue(replace(write_files(tmp_path), limit=1), tmp_path / "shop")

        assert len(Catalogue(tmp_path / "shop")) == 1

    @pytest.mark.parametrize("stage", ["attributes", "human", "products", "goals", "search index"])
    def test_an_interrupted_import_goes_on_where_it_was(self, shop: Catalogue, tmp_path: Path, stage: str) -> None:
        sources = write_files(tmp_path)
        with pytest.raises(KeyboardInterrupt):
            import_catalogue(sources, tmp_path / "shop", progress=interrupt_at(stage))
        assert not (tmp_path / "shop").exists()
        import_catalogue(sources, tmp_path / "shop")
        again = Catalogue(tmp_path / "shop")

        assert again.problems() == {}
        assert again.search("trail shoes") == shop.search("trail shoes")
        for kind in KINDS:
            assert [again.goals(kind)[n] for n in range(len(again.goals(kind)))] == [
                shop.goals(kind)[n] for n in range(len(shop.goals(kind)))
            ]

    @pytest.mark.integration
    @pytest.mark.parametrize("stage", ["products", "search index"])
    def test_a_killed_writer_goes_on_where_it_was(self, tmp_path: Path, stage: str) -> None:
        kill = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "shop"), stage], check=False, timeout=120)
        with CatalogueWriter(tmp_path / "shop", "generated 1 2500 0") as writer:
            num_read = writer.num_read
        generate_catalogue(tmp_path / "shop", 2500)
        shop = Catalogue(tmp_path / "shop")

        assert (kill.returncode, num_read) == (-9, 2000 if stage == "products" else 2500)
        assert (len(shop), len(shop.goals("human")), shop.problems()) == (2500, 5000, {})
        assert not (tmp_path / "shop.partial").exists()

    def test_products_that_were_read_are_not_read_again(self, tmp_path: Path) -> None:
        with pytest.raises(KeyboardInterrupt):
            generate_catalogue(tmp_path / "shop", 30, progress=interrupt_at("goals"))
        with CatalogueWriter(tmp_path / "shop", "generated 1 30 0") as writer:
            assert writer.num_read == 30

    def test_a_full_disk_is_explained(self, tmp_path: Path) -> None:
        def fill_the_disk() -> None:
            with CatalogueWriter(tmp_path / "shop", "x") as writer:
                writer._database.execute("PRAGMA max_page_count = 20")
                for number in range(1000):
                    writer.note("a problem" * 100, str(number))

        with pytest.raises(CatalogueError, match="cannot be written: database or disk is full"):
            fill_the_disk()

    def test_work_on_other_input_is_thrown_away(self, tmp_path: Path) -> None:
        with CatalogueWriter(tmp_path / "shop", "something else") as writer:
            writer.note("old", "work")
        import_catalogue(write_files(tmp_path), tmp_path / "shop")

        assert len(Catalogue(tmp_path / "shop")) == 3
        assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["shop"]

    def test_a_catalogue_is_replaced_only_on_demand(self, tmp_path: Path) -> None:
        sources = write_files(tmp_path)
        import_catalogue(sources, tmp_path / "shop")
        with pytest.raises(CatalogueError, match="is there already"):
            import_catalogue(sources, tmp_path / "shop")
        import_catalogue(replace(sources, limit=1), tmp_path / "shop", replace=True)

        assert len(Catalogue(tmp_path / "shop")) == 1

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("{}", r"does not begin with '\['"),
            ("", r"does not begin with '\['"),
            ("[{]", "is not JSON"),
            ("[1, 2", "ends too early"),
            ("[]", "no usable product"),
            ("[7]", "no usable product"),
        ],
    )
    def test_a_wrong_file_is_refused_with_its_name(self, tmp_path: Path, content: str, message: str) -> None:
        sources = write_files(tmp_path)
        sources.items.write_text(content)

        with pytest.raises(CatalogueError, match=message):
            import_catalogue(sources, tmp_path / "shop")

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        sources = replace(write_files(tmp_path), human=tmp_path / "nowhere.json")

        with pytest.raises(CatalogueError, match=r"nowhere.json' cannot be read: No such file .* for human"):
            import_catalogue(sources, tmp_path / "shop")

    def test_a_broken_archive_is_refused(self, tmp_path: Path) -> None:
        packed = tmp_path / "items.json.gz"
        packed.write_bytes(gzip.compress(json.dumps([SHOES]).encode())[:-12])

        with pytest.raises(CatalogueError, match="cannot be read"):
            import_catalogue(replace(write_files(tmp_path), items=packed), tmp_path / "shop")

    def test_text_that_cannot_be_stored_as_utf_8_does_no_harm(self, tmp_path: Path) -> None:
        import_catalogue(write_files(tmp_path, [TEA | {"name": "tea \ud800"}, TEA | {"asin": "B\ud800"}]), tmp_path / "shop")

        assert Catalogue(tmp_path / "shop").product("B000000003").name == "tea \ud800"

    def test_nouns_of_a_file_come_before_the_rule(self, tmp_path: Path) -> None:
        (tmp_path / "nouns.json").write_text('{"Fernleaf Green Tea": ["leaf"]}')
        import_catalogue(replace(write_files(tmp_path), nouns=tmp_path / "nouns.json"), tmp_path / "shop")
        nouns = Catalogue(tmp_path / "shop").scorer.nouns

        assert (nouns("Fernleaf Green Tea"), nouns("Green Teapot")) == (("leaf",), ("teapot",))

    def test_colours_come_from_a_list_a_text_or_a_checkout(self, tmp_path: Path) -> None:
        (tmp_path / "list.json").write_text('["red", "blue"]')
        (tmp_path / "list.txt").write_text("red\n\nblue\n")
        code = tmp_path / "web_agent_site" / "engine" / "normalize.py"
        code.parent.mkdir(parents=True)
        code.write_text("import re\nCOLOR_SET = ['red',\n  'blue']\n")

        assert {read_colours(path) for path in (tmp_path / "list.json", tmp_path / "list.txt", tmp_path)} == {("red", "blue")}

    @pytest.mark.parametrize("content", ["[]", "[1]", "[", ""])
    def test_a_file_without_colours_is_refused(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "colours").write_text(content)

        with pytest.raises(CatalogueError, match="colour words"):
            read_colours(tmp_path / "colours")


class TestJsonFile:
    def test_elements_are_read_across_chunks(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("webshop_server.engine.json_stream._CHUNK", 3)
        values = [1, 12345, "a, ]b", {"c": [None, True]}, [], 1.5e10, "é😀"]
        path = tmp_path / "values.json"
        path.write_text(json.dumps(values, indent=2, ensure_ascii=False))

        assert list(JsonFile(path).elements()) == values

    def test_items_are_read_across_chunks(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("webshop_server.engine.json_stream._CHUNK", 3)
        path = tmp_path / "values.json"
        path.write_text('{ "a" : 12, "b":{"c": []} }')

        assert list(JsonFile(path).items()) == [("a", 12), ("b", {"c": []})]


class TestGoals:
    def test_instructions_by_people_become_goals_with_a_limit(self, shop: Catalogue) -> None:
        goals = shop.goals("human")
        texts = {goals[number].instruction_text for number in range(len(goals))}

        assert texts == {
            "i need quick drying shoes, and price lower than 80.00 dollars",
            "organic tea please, and price lower than 140.00 dollars",
        }

    def test_synthetic_goals_are_all_combinations_in_the_order_of_names(self, shop: Catalogue) -> None:
        goals = shop.goals("synthetic")
        options = [goals[number].goal_options for number in range(len(goals))]

        assert len(goals) == 5
        assert {"color": "red", "size": "9.5"} in options
        assert {} in options

    def test_the_text_of_a_synthetic_goal_names_its_options(self, shop: Catalogue) -> None:
        goals = shop.goals("synthetic")
        (goal,) = [goals[n] for n in range(len(goals)) if goals[n].goal_options == {"color": "red", "size": "8"}]

        assert goal.instruction_text.startswith(
            "Find me rubber sole trail shoes with color: red, and size: 8, and price lower than"
        )
        assert goal.weight == 1 / 4

    def test_a_dear_product_has_no_limit(self, tmp_path: Path) -> None:
        import_catalogue(write_files(tmp_path, [SHOES | {"pricing": "$985"}]), tmp_path / "shop")
        goal = Catalogue(tmp_path / "shop").goals("human")[0]

        assert (goal.price_upper, goal.instruction_text) == (NO_LIMIT, "i need quick drying shoes")

    def test_draws_follow_the_weights(self, shop: Catalogue) -> None:
        goals = shop.goals("synthetic")
        drawn = [goals[goals.draw(range(5), share / 1000)].asin for share in range(1000)]

        assert drawn.count("B000000003") == 500

    def test_draws_stay_in_their_range(self, generated: Catalogue) -> None:
        for kind in KINDS:
            numbers = {generated.goals(kind).draw(range(10, 14), share / 50) for share in range(50)}
            assert numbers == {10, 11, 12, 13}

    def test_splits_are_the_official_ones_where_there_are_enough_goals(self) -> None:
        assert split_ranges(12087) == {"train": range(1500, 12087), "valid": range(500, 1500), "test": range(500)}
        assert split_ranges(3) == {"train": range(3), "valid": range(0), "test": range(0)}


class TestGenerated:
    def test_every_goal_is_fulfilled_by_the_scripted_buyer(self, generated: Catalogue) -> None:
        fixed = Catalogue(generated.folder, "fixed")
        for kind in KINDS:
            goals = generated.goals(kind)
            for number in range(0, len(goals), 1 if kind == "human" else 9):
                assert buy(generated, goals[number])[-1] == buy(fixed, goals[number], quirks="fixed")[-1] == "click[buy now]"

    def test_the_same_seed_gives_the_same_products_and_another_seed_others(self) -> None:
        assert generated_records(3, 0) == generated_records(3, 0)
        assert generated_records(3, 0)[0]["name"] != generated_records(3, 1)[0]["name"]

    def test_the_products_are_the_published_ones(self) -> None:
        record, extra, human = generated_records(0, 0)

        assert (record["asin"], record["name"]) == GOLDEN[:2]
        assert (extra["instruction"], human[0]["instruction"]) == GOLDEN[2:]

    def test_no_two_products_share_an_asin(self) -> None:
        assert len({generated_records(number, 0)[0]["asin"] for number in range(2000)}) == 2000

    def test_a_larger_catalogue_begins_with_the_smaller(self, generated: Catalogue, tmp_path: Path) -> None:
        generate_catalogue(tmp_path / "shop", 5)
        small = Catalogue(tmp_path / "shop")

        assert all(small.product(asin) == generated.product(asin) for asin in small.search("leaf free proof resistant daily"))

    @pytest.mark.parametrize("count", [0, -1, 3_000_000])
    def test_a_number_out_of_range_is_refused(self, tmp_path: Path, count: int) -> None:
        with pytest.raises(CatalogueError, match="between 1 and"):
            generate_catalogue(tmp_path / "shop", count)

    @pytest.mark.integration
    def test_processes_that_make_the_default_at_once_end_with_one(self, tmp_path: Path) -> None:
        code = "import sys; from pathlib import Path; from webshop_server.engine import generator as g; g.DEFAULT_PRODUCTS = 20\n"
        code += "g.generate_catalogue.__defaults__ = (20, 0)\nprint(g.default_catalogue(Path(sys.argv[1])))"
        runs = [
            subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) for _ in range(3)
        ]
        printed = {run.communicate(timeout=60)[0].strip() for run in runs}

        assert [str(path) for path in tmp_path.iterdir()] == list(printed)

    def test_a_cache_that_cannot_be_written_is_explained(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")

        with pytest.raises(CatalogueError, match="Set XDG_CACHE_HOME"):
            default_catalogue(tmp_path / "file" / "cache")


class TestFolder:
    def test_a_folder_that_is_no_catalogue_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(CatalogueError, match="is not a catalogue"):
            Catalogue(tmp_path)

    def test_a_catalogue_that_is_not_finished_is_refused(self, tmp_path: Path) -> None:
        with CatalogueWriter(tmp_path / "shop", "x") as writer:
            writer.note("not", "finished")

        with pytest.raises(CatalogueError, match="is not finished"):
            Catalogue(tmp_path / "shop.partial")

    def test_the_final_name_of_a_catalogue_that_is_not_finished_says_so_too(self, tmp_path: Path) -> None:
        with CatalogueWriter(tmp_path / "shop", "x") as writer:
            writer.note("not", "finished")

        with pytest.raises(CatalogueError, match=r"shop' is not finished. Run the command"):
            Catalogue(tmp_path / "shop")

    def test_a_file_of_products_is_no_catalogue(self, tmp_path: Path) -> None:
        with pytest.raises(CatalogueError, match=r"is a file; a catalogue is a folder.*mise-gym webshop build"):
            Catalogue(write_files(tmp_path).items)

    @pytest.mark.parametrize("name", ["catalogue.sqlite", "index/terms.bin", "index/documents.npy", "synthetic_order.npy"])
    def test_a_file_that_was_cut_short_is_noticed(self, shop: Catalogue, tmp_path: Path, name: str) -> None:
        folder = tmp_path / "bad"
        shutil.copytree(shop.folder, folder)
        with (folder / name).open("r+b") as file:
            file.truncate((folder / name).stat().st_size - 4)

        with pytest.raises(CatalogueError, match="is damaged"):
            Catalogue(folder)

    def test_a_catalogue_of_another_version_is_refused(self, shop: Catalogue, tmp_path: Path) -> None:
        folder = tmp_path / "old"
        shutil.copytree(shop.folder, folder)
        with sqlite3.connect(folder / "catalogue.sqlite") as database:
            database.execute("UPDATE meta SET value = '0' WHERE key = 'schema'")
        database.close()

        with pytest.raises(CatalogueError, match="has version 0; this version reads 2"):
            Catalogue(folder)

    def test_a_damaged_database_is_refused(self, shop: Catalogue, tmp_path: Path) -> None:
        folder = tmp_path / "bad"
        shutil.copytree(shop.folder, folder)
        (folder / "catalogue.sqlite").write_bytes(b"rubbish" * 1000)

        with pytest.raises(CatalogueError, match="is damaged"):
            Catalogue(folder)

    @pytest.mark.parametrize(
        "name", ["human_order.npy", "synthetic_weights.npy", "index/starts.npy", "index/ids.bin", "index/index.json"]
    )
    def test_a_folder_that_lacks_a_file_is_refused(self, shop: Catalogue, tmp_path: Path, name: str) -> None:
        folder = tmp_path / "bad"
        shutil.copytree(shop.folder, folder)
        (folder / name).unlink()

        with pytest.raises(CatalogueError, match="Build"):
            Catalogue(folder)

    def test_the_files_are_not_written_to(self, shop: Catalogue) -> None:
        before = {path: path.stat().st_mtime_ns for path in shop.folder.rglob("*")}
        reader = Catalogue(shop.folder)
        reader.search("shoes")

        assert {path: path.stat().st_mtime_ns for path in shop.folder.rglob("*")} == before

    def test_the_settings_say_what_it_was_made_with(self, shop: Catalogue) -> None:
        assert (shop.settings["source"], shop.settings["colours_from"]) == ("items.json", "ours")
        assert len(ATTRIBUTES) == len(HUMAN) == 2


GOLDEN = (
    "B000000000",
    "Quarryleaf Signature Hiking Boots, Water Resistant, for Professionals, HN-2236",
    "Find me arch support, rubber sole men's hiking boots",
    "show me men's hiking boots with these points: steel toe and arch support and water resistant. "
    "i'd take mustard for the color.",
)
