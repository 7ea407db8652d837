"""BM25 search over memory-mapped files, with the ranking of Anserini (Lucene 8) down to the order of ties.

The text of a query is data, never syntax: it is analysed like a document, and any of its terms may match.
"""

import json
import mmap
from bisect import bisect_left
from collections import Counter
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from webshop_server.engine.analyzer import analyze
from webshop_server.engine.bm25 import inverse_norms, term_scores, term_weight
from webshop_server.engine.index_writer import FORMAT
from webshop_server.errors import CatalogueError, TooManyTermsError

MOST_TERMS: Final = 1024
"""Distinct terms that a query may have, as in Lucene."""
_GROUPS_PER_RESULT: Final = 16
_ROUNDING: Final = 1 - 1e-5  # a sum in another order, or with fewer bits, may be this much less

Documents = npt.NDArray[Any]
"""Numbers of documents."""


class SearchIndex:
    """An index on disk, opened for reading; processes that open the same one share its memory.

    Args:
        folder: What ``IndexWriter`` wrote.

    Raises:
        CatalogueError: There is no index in the folder, or it is of another version.
    """

    def __init__(self, folder: Path) -> None:
        settings = _settings(folder)
        self._num_documents = int(settings["num_documents"])
        self._ids, self._terms = _Strings(folder, "ids"), _Strings(folder, "terms")
        self._starts = _load(folder, "starts")
        self._documents, self._frequencies = _load(folder, "documents"), _load(folder, "frequencies")
        self._largest_shares, self._lengths = _load(folder, "largest_shares"), _load(folder, "lengths")
        self._inverse_norms = inverse_norms(settings["average_length"])
        self._scores = np.zeros(len(self._ids), dtype=np.float64)
        self._marks = np.zeros(len(self._ids), dtype=np.bool_)

    def __len__(self) -> int:
        """Return the number of documents."""
        return len(self._ids)

    def search(self, query: str, k: int = 50) -> list[tuple[str, float]]:
        """Return the best documents.

        Args:
            query: Any text.
            k: How many to return at most.

        Returns:
            Pairs of id and score, best first; equal scores in the order of ids.

        Raises:
            TooManyTermsError: More than ``MOST_TERMS`` distinct terms.
        """
        repetitions = Counter(analyze(query))
        if len(repetitions) > MOST_TERMS:
            raise TooManyTermsError(f"The query has {len(repetitions)} distinct terms; at most {MOST_TERMS} are allowed.")
        weighted = [
            (self._weight(number, count), number)
            for term, count in repetitions.items()
            if (number := self._terms.find(term)) >= 0
        ]
        if not weighted:
            return []
        return self._best(self._race(weighted, k), k)

    def _weight(self, number: int, repetitions: int) -> np.float32:
        frequency = int(self._starts[number + 1] - self._starts[number])
        return term_weight(self._num_documents, frequency, repetitions)

    def _race(self, weighted: list[tuple[np.float32, int]], k: int) -> "_Candidates":
        """Return the documents among which the best k are.

        Terms are taken in the order of how much they can add. Once the terms that are left cannot lift a new document among the
        best k, only documents that are still in the race are looked up in their lists (the MaxScore idea of Turtle and Flood).
        """
        bounds = {number: float(weight * self._largest_shares[number]) for weight, number in weighted}
        weighted.sort(key=lambda pair: -bounds[pair[1]])
        left = total = sum(bounds.values())
        candidates = _Candidates(np.empty(0, dtype=np.intp), np.empty(0, dtype=np.float64))
        threshold = 0.0
        for weight, number in weighted:
            here = slice(int(self._starts[number]), int(self._starts[number + 1]))
            if left < threshold:
                candidates = self._look_up(weight, here, candidates.with_at_least(threshold - left))
            else:
                candidates = self._add_all(weight, here, candidates)
            left -= bounds[number]
            if left < total - left:  # else no document can have more than what is still to come
                threshold = max(threshold, _kth_best_at_least(candidates.scores, k) * _ROUNDING)
        return candidates.with_at_least(threshold)

    def _add_all(self, weight: np.float32, here: slice, candidates: "_Candidates") -> "_Candidates":
        """Add what a term gives to all of its documents."""
        documents = self._documents[here].astype(np.intp)
        gained = self._scores_of(weight, self._frequencies[here], documents)
        if not len(candidates.documents):
            return _Candidates(documents, gained)
        self._scores[candidates.documents] = candidates.scores
        before = self._scores.take(documents)
        self._scores[documents] = before + gained
        return self._collect(np.concatenate([candidates.documents, documents.compress(before == 0)]))

    def _look_up(self, weight: np.float32, here: slice, candidates: "_Candidates") -> "_Candidates":
        """Add what a term gives to the candidates."""
        documents, wanted = self._documents[here], candidates.documents
        if len(wanted) * len(documents).bit_length() > len(documents):  # reading the list is less work than searching in it
            self._marks[wanted] = True
            places = np.flatnonzero(self._marks.take(documents))
            self._marks[wanted] = False
        else:
            places = np.minimum(np.searchsorted(documents, wanted.astype(documents.dtype)), len(documents) - 1)
            places = places.compress(documents.take(places) == wanted)
        hits = documents.take(places)
        self._scores[wanted] = candidates.scores
        self._scores[hits] += self._scores_of(weight, self._frequencies[here].take(places), hits)
        return self._collect(wanted)

    def _collect(self, documents: Documents) -> "_Candidates":
        """Take the scores of some documents off the table."""
        candidates = _Candidates(documents, self._scores.take(documents))
        self._scores[documents] = 0
        return candidates

    def _scores_of(self, weight: np.float32, frequencies: npt.NDArray[np.uint16], documents: Documents) -> npt.NDArray[Any]:
        return term_scores(weight, frequencies, self._lengths.take(documents), self._inverse_norms)

    def _best(self, candidates: "_Candidates", k: int) -> list[tuple[str, float]]:
        documents, scores = candidates.documents, candidates.scores.astype(np.float32)
        order = np.lexsort((documents, -scores))[:k]
        return list(zip(self._ids.at(documents[order]), scores[order].tolist(), strict=True))


class _Candidates(NamedTuple):
    """Documents that may be among the best, and their scores so far."""

    documents: Documents
    scores: npt.NDArray[Any]

    def with_at_least(self, needed: float) -> "_Candidates":
        places = np.flatnonzero(self.scores >= needed)
        return _Candidates(self.documents.take(places), self.scores.take(places))


def _kth_best_at_least(scores: npt.NDArray[Any], k: int) -> float:
    """Return a number that at least k of the scores reach: the k-th best of the bests of many equally large groups of them."""
    size = max(len(scores) // (_GROUPS_PER_RESULT * k), 1)
    num_groups = len(scores) // size
    if num_groups < k:
        return 0.0
    bests = scores[: num_groups * size].reshape(size, num_groups).max(axis=0)
    return float(np.partition(bests, num_groups - k)[num_groups - k])


class _Strings:
    """Sorted strings in a file, of which only those that are looked at are read."""

    def __init__(self, folder: Path, name: str) -> None:
        self._starts = _load(folder, f"{name}_starts")
        with (folder / f"{name}.bin").open("rb") as file:
            self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if self._starts[-1] else b""
        if len(self._bytes) != self._starts[-1]:
            raise ValueError(f"{name}.bin ends too early")

    def __len__(self) -> int:
        return len(self._starts) - 1

    def at(self, places: Documents) -> list[str]:
        """Return the strings at some places."""
        ends = zip(self._starts[places].tolist(), self._starts[places + 1].tolist(), strict=True)
        return [self._bytes[start:end].decode("utf-8", "surrogatepass") for start, end in ends]

    def find(self, string: str) -> int:
        """Return the place of ``string``, or -1; the order of encoded strings is that of the strings."""
        wanted = string.encode("utf-8", "surrogatepass")
        place = bisect_left(range(len(self)), wanted, key=self._encoded)
        return place if place < len(self) and self._encoded(place) == wanted else -1

    def _encoded(self, place: int) -> bytes:
        return self._bytes[self._starts[place] : self._starts[place + 1]]


def _settings(folder: Path) -> dict[str, Any]:
    try:
        settings: dict[str, Any] = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CatalogueError(f"There is no search index in {str(folder)!r}. Build the catalogue again.") from error
    if settings.get("format") != FORMAT:
        raise CatalogueError(
            f"The search index in {str(folder)!r} has format {settings.get('format')!r}; this version reads {FORMAT}. "
            "Build the catalogue again."
        )
    return settings


def _load(folder: Path, name: str) -> npt.NDArray[Any]:
    values: npt.NDArray[Any] = np.load(folder / f"{name}.npy", mmap_mode="r")
    return values.view(np.ndarray)
