"""The index against scores that are worked out the slow way."""

import math
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from webshop_server.engine.analyzer import analyze
from webshop_server.engine.bm25 import decode_length, encode_length
from webshop_server.engine.index_writer import IndexWriter
from webshop_server.engine.search import SearchIndex
from webshop_server.errors import CatalogueError, TooManyTermsError

WORDS = [f"word{number}" for number in range(60)]


def index_of(folder: Path, documents: dict[str, str], block_size: int = 1000) -> SearchIndex:
    writer = IndexWriter(folder, block_size)
    for name, text in documents.items():
        writer.add(name, text)
    writer.close()
    return SearchIndex(folder)


def random_documents(count: int) -> dict[str, str]:
    rng = random.Random(5)
    weights = [1 / (rank + 1) for rank in range(len(WORDS))]
    return {f"D{rng.random()}": " ".join(rng.choices(WORDS, weights, k=rng.randint(1, 60))) for _ in range(count)}


def slow_scores(documents: dict[str, str], query: str) -> list[tuple[str, float]]:
    """Score every document with every term, one at a time."""
    one, k1, b = np.float32(1), np.float32(0.9), np.float32(0.4)
    counts = {name: Counter(analyze(text)) for name, text in documents.items()}
    with_terms = [count.total() for count in counts.values() if count]
    average = np.float32(sum(with_terms) / len(with_terms))
    scores = []
    frequencies = {term: sum(term in other for other in counts.values()) for term in analyze(query)}
    for name, count in counts.items():
        length = np.float32(decode_length(encode_length(count.total())))
        inverse = one / (k1 * ((one - b) + b * length / average))
        total = 0.0
        for term, repetitions in Counter(analyze(query)).items():
            if count[term]:
                rarity = (len(with_terms) - frequencies[term] + 0.5) / (frequencies[term] + 0.5)
                idf = np.float32(math.log(1 + rarity))
                weight = np.float32(repetitions) * idf
                total += float(weight - weight / (one + np.float32(count[term]) * inverse))
        if total:
            scores.append((name, float(np.float32(total))))
    return sorted(scores, key=lambda pair: (-pair[1], pair[0]))


@pytest.mark.parametrize("block_size", [500, 100_000])
@pytest.mark.parametrize("k", [5, 20])
@pytest.mark.parametrize(
    "query",
    [
        "word20 word21 word22 word23 word0",
        "word0",
        "word0 word1 word2 word3",
        "word55 word0",
        "word40 word40 word3 word59",
        "word1 nothing",
    ],
)
def test_the_ranking_is_that_of_plain_bm25(tmp_path: Path, query: str, block_size: int, k: int) -> None:
    documents = random_documents(300)

    assert index_of(tmp_path, documents, block_size).search(query, k) == slow_scores(documents, query)[:k]


def test_a_second_search_is_not_affected_by_the_first(tmp_path: Path) -> None:
    index = index_of(tmp_path, random_documents(200))
    first = index.search("word0 word7 word30")
    index.search("word1 word2 word50")

    assert index.search("word0 word7 word30") == first


def test_equal_scores_are_in_the_order_of_ids(tmp_path: Path) -> None:
    index = index_of(tmp_path, {"b": "green tea", "a": "green tea", "c": "black tea"})

    assert [name for name, _ in index.search("green")] == ["a", "b"]


def test_blank_documents_are_left_out_and_documents_without_terms_do_not_count(tmp_path: Path) -> None:
    with_empty = index_of(tmp_path / "1", {"a": "green tea", "b": "black tea", "c": "the !", "d": "  "})
    without = index_of(tmp_path / "2", {"a": "green tea", "b": "black tea"})

    assert len(with_empty) == 3
    assert with_empty.search("green tea") == without.search("green tea")


@pytest.mark.parametrize("query", ["", "   ", "the and", "?!", "unheard", "size:", '"a OR (b', "\x00", "\ud800"])
def test_any_text_is_a_query_and_some_find_nothing(tmp_path: Path, query: str) -> None:
    assert index_of(tmp_path, {"a": "green tea"}).search(query) == []


def test_words_that_are_operators_elsewhere_are_words_here(tmp_path: Path) -> None:
    index = index_of(tmp_path, {"a": "green tea", "b": "NEAR star"})

    assert [name for name, _ in index.search("-green AND near*")] == ["a", "b"]


def test_too_many_distinct_terms_are_refused_but_repetitions_are_not(tmp_path: Path) -> None:
    index = index_of(tmp_path, {"a": "green tea"})

    assert index.search("tea " * 3000)
    with pytest.raises(TooManyTermsError, match="1025 distinct terms"):
        index.search(" ".join(f"x{number}" for number in range(1025)))


def test_an_index_without_documents_finds_nothing(tmp_path: Path) -> None:
    assert index_of(tmp_path, {}).search("tea") == []


def test_no_block_is_left_behind(tmp_path: Path) -> None:
    index_of(tmp_path, random_documents(50), block_size=20)

    assert list(tmp_path.glob("block*")) == []


def test_a_folder_without_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="no search index"):
        SearchIndex(tmp_path)


def test_an_index_of_another_version_is_refused(tmp_path: Path) -> None:
    index_of(tmp_path, {"a": "tea"})
    (tmp_path / "index.json").write_text('{"format": 0}')

    with pytest.raises(CatalogueError, match="has format 0; this version reads 2"):
        SearchIndex(tmp_path)


def test_lengths_survive_their_byte_as_in_lucene() -> None:
    assert [decode_length(encode_length(length)) for length in (0, 1, 39, 40, 41, 100, 1000)] == [0, 1, 39, 40, 40, 96, 984]
    assert [encode_length(decode_length(code)) for code in range(256)] == list(range(256))
