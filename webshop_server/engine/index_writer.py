"""Writes a search index: inverted lists in flat numpy files that are mapped into memory when they are read.

Documents are indexed in blocks, each with terms of its own, which are sorted, written to disk and merged a range of terms at a
time, so that memory grows with neither the collection nor its vocabulary.
"""

import contextlib
import heapq
import json
import shutil
from array import array
from collections import Counter
from collections.abc import Iterator
from itertools import repeat
from operator import itemgetter
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt

from webshop_server.engine.analyzer import analyze
from webshop_server.engine.bm25 import encode_length, inverse_norms

FORMAT: Final = 2
"""Version of the files; an index of another version is refused."""
_BLOCK: Final = 1_000_000
_LARGEST_FREQUENCY: Final = 65_535

Numbers = npt.NDArray[np.uint32]


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
        self._workshop = folder / "blocks"
        shutil.rmtree(self._workshop, ignore_errors=True)  # of a writer that was killed
        self._workshop.mkdir(parents=True)
        self._folder = folder
        self._block_size = block_size
        self._ids, self._id_sizes = bytearray(), array("I")
        self._lengths = bytearray()
        self._total_length = 0
        self._num_with_terms = 0
        self._blocks: list[Path] = []
        self._begin_block()

    def add(self, document_id: str, text: str) -> None:
        """Index ``text`` under ``document_id``."""
        if not text.strip():
            return
        counts = Counter(analyze(text))
        number, length = len(self._lengths), counts.total()
        encoded = _encode(document_id)
        self._ids += encoded
        self._id_sizes.append(len(encoded))
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
        if self._terms:
            self._flush()
        order = self._write_ids()
        lengths = np.frombuffer(self._lengths, dtype=np.uint8)[order]
        self._save("lengths", lengths)
        average_length = max(self._total_length, 1) / max(self._num_with_terms, 1)
        blocks = [_Block(path) for path in self._blocks]
        starts = self._write_terms(blocks)
        self._write_postings(blocks, starts, _inverse(order), inverse_norms(average_length)[lengths])
        settings = {"format": FORMAT, "num_documents": self._num_with_terms, "average_length": average_length}
        (self._folder / "index.json").write_text(json.dumps(settings), encoding="utf-8")
        shutil.rmtree(self._workshop)

    def _begin_block(self) -> None:
        self._numbers: dict[str, int] = {}
        self._terms, self._documents, self._frequencies = array("I"), array("I"), array("H")

    def _flush(self) -> None:
        """Write a block: its terms in order, how many postings each has, and the postings term by term."""
        path = self._workshop / str(len(self._blocks))
        path.mkdir()
        terms = sorted(self._numbers)
        (path / "terms").write_bytes(b"".join(_encode(f"{term}\n") for term in terms))
        places = _inverse(np.fromiter((self._numbers[term] for term in terms), np.int64, len(terms)))
        columns = places[np.frombuffer(self._terms, dtype=np.uint32)]
        order = np.argsort(columns, kind="stable")
        np.frombuffer(self._documents, dtype=np.uint32)[order].tofile(path / "documents")
        np.frombuffer(self._frequencies, dtype=np.uint16)[order].tofile(path / "frequencies")
        np.bincount(columns, minlength=len(terms)).astype(np.uint32).tofile(path / "counts")
        self._blocks.append(path)
        self._begin_block()

    def _write_ids(self) -> npt.NDArray[np.intp]:
        """Write the ids in order and return which document has each. Shape ``(documents,)``."""
        sizes = np.frombuffer(self._id_sizes, dtype=np.uint32)
        starts = _starts(sizes)
        each = (bytes(self._ids[start : start + size]) for start, size in zip(starts, self._id_sizes, strict=False))
        ids = np.fromiter(each, dtype=f"S{max(self._id_sizes, default=1)}", count=len(sizes))
        order = np.argsort(ids, kind="stable")
        with (self._folder / "ids.bin").open("wb") as file:
            file.writelines(map(bytes, (self._ids[starts[place] : starts[place + 1]] for place in order)))
        self._save("ids_starts", _starts(sizes[order]))
        return order

    def _write_terms(self, blocks: list["_Block"]) -> npt.NDArray[np.int64]:
        """Write the terms of all blocks in order, and return where the postings of each begin. Shape ``(terms + 1,)``."""
        sizes, last = array("q"), None
        with contextlib.ExitStack() as files, (self._folder / "terms.bin").open("wb") as file:
            streams = [zip(files.enter_context(block.path.joinpath("terms").open("rb")), repeat(block)) for block in blocks]
            for line, block in heapq.merge(*streams, key=itemgetter(0)):
                if line != last:
                    sizes.append(file.write(line[:-1]))
                    last = line
                block.numbers.append(len(sizes) - 1)
        self._save("terms_starts", _starts(sizes))
        counts = np.zeros(len(sizes), dtype=np.int64)
        for block in blocks:
            numbers, sizes_here = block.settle()
            counts[numbers] += sizes_here
        starts = _starts(counts)
        self._save("starts", starts)
        return starts

    def _write_postings(
        self, blocks: list["_Block"], starts: npt.NDArray[np.int64], new_numbers: Numbers, inverses: npt.NDArray[np.float32]
    ) -> None:
        """Write the postings term by term, in each term by document, with the documents numbered in the order of their ids."""
        largest = np.zeros(len(starts) - 1, dtype=np.float32)
        with (
            self._column("documents", np.uint32, starts) as documents,
            self._column("frequencies", np.uint16, starts) as frequencies,
        ):
            for first, last in _ranges(starts, self._block_size):
                parts = [block.postings(first, last) for block in blocks]
                terms, old, counts = (np.concatenate(columns) for columns in zip(*parts, strict=True))
                order = np.lexsort((new_numbers[old], terms))
                here, counts = new_numbers[old[order]], counts[order]
                documents.write(here.tobytes())
                frequencies.write(counts.tobytes())
                shares = 1 - 1 / (1 + counts.astype(np.float32) * inverses[here])
                largest[first:last] = np.maximum.reduceat(shares, starts[first:last] - starts[first])
        self._save("largest_shares", largest)

    @contextlib.contextmanager
    def _column(self, name: str, dtype: type[np.generic], starts: npt.NDArray[np.int64]) -> Iterator[IO[bytes]]:
        """Open a file of postings, as numpy would save it; without postings it has one zero, because nothing cannot be mapped."""
        size = int(starts[-1])
        with (self._folder / f"{name}.npy").open("wb") as file:
            description = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": (max(size, 1),)}
            np.lib.format.write_array_header_1_0(file, description)
            yield file
            if not size:
                file.write(bytes(np.dtype(dtype).itemsize))

    def _save(self, name: str, values: npt.NDArray[Any]) -> None:
        np.save(self._folder / f"{name}.npy", values)


class _Block:
    """Postings of some documents on disk, term by term.

    Args:
        path: Folder with the files ``terms``, ``counts``, ``documents`` and ``frequencies``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.numbers = array("I")
        """The number that each term has in the index; filled when the terms of all blocks are merged."""

    def settle(self) -> tuple[Numbers, Numbers]:
        """Put the numbers on disk; return them, and how many postings each term has."""
        numbers, counts = np.array(self.numbers, dtype=np.uint32), np.fromfile(self.path / "counts", dtype=np.uint32)
        numbers.tofile(self.path / "numbers")
        _starts(counts).astype(np.uint32).tofile(self.path / "starts")
        self.numbers = array("I")
        return numbers, counts

    def postings(self, first: int, last: int) -> tuple[Numbers, Numbers, npt.NDArray[np.uint16]]:
        """Return term, document and frequency of the postings of the terms ``first`` to ``last``, excluded."""
        numbers, starts = (np.memmap(self.path / name, dtype=np.uint32, mode="r") for name in ("numbers", "starts"))
        low, high = np.searchsorted(numbers, [first, last])
        begin, end = int(starts[low]), int(starts[high])
        documents = np.fromfile(self.path / "documents", np.uint32, end - begin, offset=4 * begin)
        frequencies = np.fromfile(self.path / "frequencies", np.uint16, end - begin, offset=2 * begin)
        return np.repeat(numbers[low:high], np.diff(starts[low : high + 1])), documents, frequencies


def _encode(string: str) -> bytes:
    return string.encode("utf-8", "surrogatepass")


def _starts(sizes: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Return where each of some things of these sizes begins, and where the last one ends. Shape ``(n + 1,)``."""
    return np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])


def _inverse(order: npt.NDArray[np.intp]) -> Numbers:
    """Return for each thing the place that it has in ``order``. Shape ``(n,)``."""
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
