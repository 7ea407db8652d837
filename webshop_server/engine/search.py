"""BM25 search over memory-mapped files, with the ranking of Anserini (Lucene 8) down to the order of ties.

The text of a query is data, never syntax: it is analysed like a document, and any of its terms may match.
"""

import json
import mmap
from collections import Counter
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from webshop_server.engine.analyzer import analyze
from webshop_server.engine.bm25 import inverse_norms, term_scores, term_weight
from webshop_server.engine.index_writer import FORMAT
from webshop_server.errors import CatalogueError, TooManyTermsError

MOST_TERMS: Final = 1024
"""Distinct terms that a query may have, as in Lucene."""
_SAMPLE: Final = 4000
"""Documents from whose scores it is judged which others are still in the race."""


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
        touched = self._score_all(weighted, k)
        scores = self._scores[touched]
        self._scores[touched] = 0
        return self._best(touched, scores.astype(np.float32), k)

    def _weight(self, number: int, repetitions: int) -> np.float32:
        frequency = int(self._starts[number + 1] - self._starts[number])
        return term_weight(self._num_documents, frequency, repetitions)

    def _score_all(self, weighted: list[tuple[np.float32, int]], k: int) -> npt.NDArray[np.intp]:
        """Fill ``_scores`` and return which documents it has scores of.

        Terms are taken in the order of how much they can add. Once the terms that are left cannot lift a new document among the
        best k, only documents that are still in the race are looked up in their lists (the MaxScore idea of Turtle and Flood).
        """
        bounds = {number: float(weight * self._largest_shares[number]) for weight, number in weighted}
        weighted.sort(key=lambda pair: -bounds[pair[1]])
        left = total = sum(bounds.values())
        touched = np.empty(0, dtype=np.intp)
        threshold = 0.0
        for weight, number in weighted:
            here = slice(int(self._starts[number]), int(self._starts[number + 1]))
            if left < threshold:
                touched = self._drop_hopeless(touched, threshold - left)
                self._look_up(weight, here, touched)
            else:
                touched = self._add_all(weight, here, touched)
            left -= bounds[number]
            if left < total - left:  # else no document can have more than what is still to come
                threshold = max(threshold, self._threshold(touched, k))
        return touched

    def _add_all(self, weight: np.float32, here: slice, touched: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
        documents = self._documents[here].astype(np.intp)
        gained = self._scores_of(weight, self._frequencies[here], documents)
        if not len(touched):
            self._scores[documents] = gained
            return documents
        before = self._scores[documents]
        self._scores[documents] = before + gained
        return np.concatenate([touched, documents[before == 0]])

    def _look_up(self, weight: np.float32, here: slice, touched: npt.NDArray[np.intp]) -> None:
        documents = self._documents[here]
        if len(touched) * len(documents).bit_length() > len(documents):  # reading the list is less work than searching in it
            places = np.flatnonzero(self._scores[documents])
            hits = documents[places]
        else:
            places = np.minimum(np.searchsorted(documents, touched.astype(documents.dtype)), len(documents) - 1)
            found = documents[places] == touched
            places, hits = places[found], touched[found]
        self._scores[hits] += self._scores_of(weight, self._frequencies[here][places], hits)

    def _scores_of(
        self, weight: np.float32, frequencies: npt.NDArray[np.uint16], documents: npt.NDArray[np.intp]
    ) -> npt.NDArray[Any]:
        return term_scores(weight, frequencies, self._inverse_norms[self._lengths[documents]])

    def _drop_hopeless(self, touched: npt.NDArray[np.intp], needed: float) -> npt.NDArray[np.intp]:
        hopeless = self._scores[touched] < needed
        self._scores[touched[hopeless]] = 0
        return touched[~hopeless]

    def _threshold(self, touched: npt.NDArray[np.intp], k: int) -> float:
        """Return a score that the k-th best document has for certain, a little lowered because of rounding.

        The k-th best of some documents is no better than that of all, and those with the weightiest term come first.
        """
        if len(touched) < k:
            return 0.0
        some = self._scores[touched[:_SAMPLE]]
        return float(np.partition(some, len(some) - k)[len(some) - k]) * (1 - 1e-5)

    def _best(self, touched: npt.NDArray[np.intp], scores: npt.NDArray[np.float32], k: int) -> list[tuple[str, float]]:
        if len(touched) > k:
            least = np.partition(scores, len(scores) - k)[len(scores) - k]
            touched, scores = touched[scores >= least], scores[scores >= least]
        order = np.lexsort((touched, -scores))[:k]
        return [(self._ids[int(touched[place])], float(scores[place])) for place in order]


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

    def __getitem__(self, place: int) -> str:
        return bytes(self._bytes[int(self._starts[place]) : int(self._starts[place + 1])]).decode("utf-8", "surrogatepass")

    def find(self, string: str) -> int:
        """Return the place of ``string``, or -1."""
        low, high = 0, len(self)
        while low < high:
            middle = (low + high) // 2
            if self[middle] < string:
                low = middle + 1
            else:
                high = middle
        return low if low < len(self) and self[low] == string else -1


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
