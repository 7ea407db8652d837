"""Writes a search index: inverted lists in flat numpy files that are mapped into memory when they are read.

Postings are sorted in blocks on disk and merged a range of terms at a time, so that memory does not grow with the collection.
"""

import json
from array import array
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from webshop_server.engine.analyzer import analyze
from webshop_server.engine.bm25 import encode_length, inverse_norms

FORMAT: Final = 1
"""Version of the files; an index of another version is refused."""
_BLOCK: Final = 2_000_000
_LARGEST_FREQUENCY: Final = 65_535
_COLUMNS: Final = ("terms", "documents", "frequencies")


class IndexWriter:
    """Takes documents one by one and writes the index.

    Args:
        folder: Where the files go; made if it is not there.
        block_size: Postings that are held in memory before they go to disk.

    Note:
        A document whose text is blank is left out. A document without any term (only stop words or punctuation) is in the index,
        but counts neither as a document nor for the average length, as in Lucene.
    """

    def __init__(self, folder: Path, block_size: int = _BLOCK) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._block_size = block_size
        self._numbers: dict[str, int] = {}
        self._ids: list[str] = []
        self._lengths = bytearray()
        self._total_length = 0
        self._num_with_terms = 0
        self._terms, self._documents, self._frequencies = array("I"), array("I"), array("H")
        self._blocks: list[Path] = []

    def add(self, document_id: str, text: str) -> None:
        """Index ``text`` under ``document_id``."""
        if not text.strip():
            return
        counts = Counter(analyze(text))
        number, length = len(self._ids), counts.total()
        self._ids.append(document_id)
        self._lengths.append(encode_length(length))
        self._total_length += length
        self._num_with_terms += length > 0
        for term, count in counts.items():
            self._terms.append(self._numbers.setdefault(term, len(self._numbers)))
            self._documents.append(number)
            self._frequencies.append(min(count, _LARGEST_FREQUENCY))
        if len(self._terms) >= self._block_size:
            self._flush()

    def close(self) -> None:
        """Merge what was added and write the files."""
        self._flush()
        order = sorted(range(len(self._ids)), key=self._ids.__getitem__)
        self._write_strings("ids", [self._ids[number] for number in order])
        lengths = np.frombuffer(bytes(self._lengths), dtype=np.uint8)[order]
        self._save("lengths", lengths)
        average_length = max(self._total_length, 1) / max(self._num_with_terms, 1)
        terms = sorted(self._numbers)
        self._write_strings("terms", terms)
        self._save("term_numbers", np.array([self._numbers[term] for term in terms], dtype=np.uint32))
        self._merge(_inverse(order), inverse_norms(average_length)[lengths])
        settings = {"format": FORMAT, "num_documents": self._num_with_terms, "average_length": average_length}
        (self._folder / "index.json").write_text(json.dumps(settings), encoding="utf-8")

    def _flush(self) -> None:
        if not self._terms:
            return
        order = np.argsort(np.frombuffer(self._terms, dtype=np.uint32), kind="stable")
        path = self._folder / f"block-{len(self._blocks)}"
        columns = {"terms": self._terms, "documents": self._documents, "frequencies": self._frequencies}
        for name, column in columns.items():
            np.save(f"{path}-{name}.npy", np.frombuffer(column, dtype=column.typecode)[order])
        self._blocks.append(path)
        self._terms, self._documents, self._frequencies = array("I"), array("I"), array("H")

    def _merge(self, new_numbers: npt.NDArray[np.uint32], inverses: npt.NDArray[np.float32]) -> None:
        """Write the postings term by term, in each term by document, with the documents numbered in the order of their ids."""
        blocks = [[np.load(f"{path}-{name}.npy", mmap_mode="r") for name in _COLUMNS] for path in self._blocks]
        counts = np.zeros(len(self._numbers), dtype=np.int64)
        for terms, _, _ in blocks:
            counts += np.bincount(terms, minlength=len(counts))
        starts = np.concatenate([[0], np.cumsum(counts)])
        self._save("starts", starts)
        documents = self._create("documents", np.uint32, int(starts[-1]))
        frequencies = self._create("frequencies", np.uint16, int(starts[-1]))
        largest = np.zeros(len(counts), dtype=np.float32)
        for first, last in _ranges(starts, self._block_size):
            terms, old, chunk = _slice(blocks, first, last)
            chunk_documents = new_numbers[old]
            order = np.lexsort((chunk_documents, terms))
            here = slice(int(starts[first]), int(starts[last]))
            documents[here], frequencies[here] = chunk_documents[order], chunk[order]
            shares = 1 - 1 / (1 + frequencies[here].astype(np.float32) * inverses[documents[here]])
            largest[first:last] = np.maximum.reduceat(shares, starts[first:last] - starts[first])
        self._save("largest_shares", largest)
        for path in self._blocks:
            for name in _COLUMNS:
                Path(f"{path}-{name}.npy").unlink()

    def _create(self, name: str, dtype: Any, size: int) -> npt.NDArray[Any]:
        return np.lib.format.open_memmap(self._folder / f"{name}.npy", mode="w+", dtype=dtype, shape=(max(size, 1),))

    def _write_strings(self, name: str, strings: list[str]) -> None:
        encoded = [string.encode("utf-8", "surrogatepass") for string in strings]
        (self._folder / f"{name}.bin").write_bytes(b"".join(encoded))
        self._save(f"{name}_starts", np.cumsum([0, *map(len, encoded)], dtype=np.int64))

    def _save(self, name: str, values: npt.NDArray[Any]) -> None:
        np.save(self._folder / f"{name}.npy", values)


def _inverse(order: list[int]) -> npt.NDArray[np.uint32]:
    """Return for each document the place that it has in ``order``. Shape ``(n,)``."""
    places = np.empty(len(order), dtype=np.uint32)
    places[order] = np.arange(len(order), dtype=np.uint32)
    return places


def _ranges(starts: npt.NDArray[np.int64], size: int) -> Iterator[tuple[int, int]]:
    """Cut the terms into ranges with about ``size`` postings each, a term at least."""
    first, num_terms = 0, len(starts) - 1
    while first < num_terms:
        last = max(int(np.searchsorted(starts, starts[first] + size, side="right")) - 1, first + 1)
        yield first, last
        first = last


def _slice(blocks: list[list[npt.NDArray[Any]]], first: int, last: int) -> list[npt.NDArray[Any]]:
    """Return the columns of all postings of the terms ``first`` to ``last``, excluded."""
    parts = []
    for block in blocks:
        here = slice(*np.searchsorted(block[0], [first, last]))
        parts.append([column[here] for column in block])
    return [np.concatenate(columns) for columns in zip(*parts, strict=True)]
