"""Checks the shop against recordings of WebShop and of Anserini: scores, rankings, goals, pages, letter by letter.

    python examples/benchmarks/webshop_parity.py VECTORS_DIR

The folder has gzipped JSON files: analyzer, search, search_exotic, search_blank, reward, products_loaded, goals, transcripts, and
the catalogue files that were recorded from. Prints what agrees of how many; the exit status is 1 unless everything does.
"""

import argparse
import gzip
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from webshop_server.engine.analyzer import analyze
from webshop_server.engine.catalogue import Catalogue
from webshop_server.engine.colours import ColourWords
from webshop_server.engine.fuzzy import token_set_ratio
from webshop_server.engine.goal import NO_LIMIT, goal_from_record
from webshop_server.engine.importer import Sources, import_catalogue
from webshop_server.engine.index_writer import IndexWriter
from webshop_server.engine.product import Product
from webshop_server.engine.scoring import Scorer
from webshop_server.engine.search import SearchIndex
from webshop_server.engine.session import Outcome, Session
from webshop_server.errors import TooManyTermsError

MAGIC = {"magic", "magic_error"}
"""Episodes with WebShop's secret search words, which this shop has not."""


def main() -> int:
    """Run every check."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?")
    folder = parser.parse_args().folder
    if folder is None:
        print("No folder of recordings given; nothing is checked.")
        return 0
    is_perfect = True
    for what, results in checks(folder):
        outcomes = list(results)
        agreed = sum(outcomes)
        is_perfect &= agreed == len(outcomes)
        print(f"{what:<45} {agreed:>6} of {len(outcomes):>6}")
    return 0 if is_perfect else 1


def checks(folder: Path) -> Iterator[tuple[str, Iterator[bool]]]:
    """Yield what is checked, and for each case whether it agrees."""
    read = Vectors(folder)
    yield "analyzer, terms", (analyze(case["text"]) == case["tokens"] for case in read("analyzer")["vectors"])
    for name in ("search", "search_exotic", "search_blank"):
        yield f"{name}, ordered best 50", searches(read(name))
    reward = read("reward")
    ratios = reward["token_set_ratio_vectors"]
    yield "token set ratio", (token_set_ratio(case["a"], case["b"]) == case["thefuzz_0_22"] for case in ratios)
    yield "purchase score and its parts", scores(reward)
    with tempfile.TemporaryDirectory() as workshop:
        catalogue = imported(folder, Path(workshop), read)
        loaded = read("products_loaded")
        yield "products loaded", (same_product(catalogue.product(case["asin"]), case) for case in loaded)
        yield "number of products", iter([len(catalogue) == len(loaded)])
        goals = read("goals")
        for kind in ("human", "synthetic"):
            listed = catalogue.goals(kind)
            yield f"goals in order, {kind}", (same_goal(listed[n].to_record(), case) for n, case in enumerate(goals[kind]))
            yield f"number of goals, {kind}", iter([len(listed) == len(goals[kind])])
        recorded = read("transcripts")
        yield "searches of transcripts", (list(catalogue.search(q)) == hits["ids"] for q, hits in recorded["searches"].items())
        yield (
            "turns of transcripts, text and text_rich",
            (turn for episode in recorded["episodes"] for turn in turns(catalogue, episode)),
        )


class Vectors:
    """Reads recordings by name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, name: str) -> Any:
        """Return the content of a file."""
        with gzip.open(self.folder / f"{name}.json.gz", "rt", encoding="utf-8") as file:
            return json.load(file)


def searches(recorded: Any) -> Iterator[bool]:
    """Compare rankings over the documents of one recording."""
    with tempfile.TemporaryDirectory() as workshop:
        writer = IndexWriter(Path(workshop))
        for document in recorded["docs"]:
            writer.add(document["id"], document["contents"])
        writer.close()
        index = SearchIndex(Path(workshop))
        for case in recorded["queries"]:
            try:
                yield [asin for asin, _ in index.search(case["query"], recorded["k"])] == case.get("ids")
            except TooManyTermsError:
                yield "raises" in case


def scores(recorded: Any) -> Iterator[bool]:
    """Compare purchase scores; where WebShop fails with an error, any score will do."""
    colours = ColourWords(recorded["color_words_in_order"])
    for case in recorded["vectors"]:
        bought = case["product"]
        product = Product(
            asin=bought["asin"],
            name=bought["name"],
            title=bought["Title"],
            description=bought["Description"],
            bullet_points=bought["BulletPoints"],
            price=case["price"] if case["price"] is not None else NO_LIMIT,
            attributes=bought["Attributes"],
            query=bought["query"],
            product_category=bought["product_category"],
        )
        goal = goal_from_record({"category": "", "instruction_text": "", **case["goal"]})
        nouns = iter([case["nouns_goal"], case["nouns_product"]])
        scorer = Scorer(colours=colours, nouns=lambda _name, nouns=nouns: next(nouns))
        score, parts = scorer.score(product, goal, case["options"])
        yield "expected_error" in case or (score == case["expected_reward"] and parts == case["expected_info"])


def imported(folder: Path, workshop: Path, read: Vectors) -> Catalogue:
    """Import the catalogue that was recorded from, with the colour words and nouns that were recorded."""
    colours, nouns = workshop / "colours.json", workshop / "nouns.json"
    colours.write_text(json.dumps(read("reward")["color_words_in_order"]))
    nouns.write_text(json.dumps(read("transcripts")["nouns"]))
    files = [folder / f"{name}.json.gz" for name in ("items_shuffle", "items_ins_v2", "items_human_ins")]
    sources = Sources(items=files[0], attributes=files[1], human=files[2], colours=colours, nouns=nouns)
    import_catalogue(sources, workshop / "catalogue")
    return Catalogue(workshop / "catalogue")


def same_product(product: Product, case: Any) -> bool:
    """Compare a product with what WebShop makes of its record."""
    mine = [product.name, product.shown_title, product.description, list(product.bullet_points), product.price_tag, product.price]
    mine += [product.options, list(product.attributes), product.category, product.query, product.product_category]
    names = ["name", "Title", "Description", "BulletPoints", "Price", "price", "options", "Attributes", "category", "query"]
    theirs = [case[name] for name in [*names, "product_category", "MainImage", "contents"]]
    return [*mine, product.image, product.contents] == theirs


def same_goal(mine: dict[str, Any], case: Any) -> bool:
    """Compare goals but for the price limit, which WebShop draws at random."""
    drawn = {"price_upper", "instruction_text"}
    texts = [
        goal["instruction_text"].removesuffix(f", and price lower than {goal['price_upper']:.2f} dollars")
        for goal in (mine, case)
    ]
    return texts[0] == texts[1] and all(mine[name] == value for name, value in case.items() if name not in drawn)


def turns(catalogue: Catalogue, episode: Any) -> Iterator[bool]:
    """Compare every page of an episode."""
    if MAGIC & set(episode["tags"]):
        return
    session = Session(catalogue, goal_from_record(episode["goal"]), episode["session"], show_attributes=episode["show_attrs"])
    yield same_page(session, episode["reset"])
    for step in episode["steps"]:
        outcome: Outcome = session.act(step["action"])
        yield same_page(session, step) and (outcome.reward, outcome.is_done) == (step["reward"], step["done"])


def same_page(session: Session, case: Any) -> bool:
    """Compare what is seen and what can be done."""
    actions = {"has_search_bar": session.page.has_search_bar, "clickables": session.clickables}
    mine = [session.show("text"), session.show("text_rich"), session.url, actions]
    return mine == [case["observation"], case["observation_rich"], case["url"], case["available_actions"]]


if __name__ == "__main__":
    sys.exit(main())
