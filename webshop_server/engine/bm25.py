"""The arithmetic of Lucene 8's BM25, to the last bit: document lengths kept in one byte, scores in 32-bit floats.

References:
    S. Robertson and H. Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009.
"""

import math
from typing import Final

import numpy as np
import numpy.typing as npt

K1: Final = 0.9
"""How fast repetitions of a term stop counting; Anserini's default."""
B: Final = 0.4
"""How much long documents are discounted, from 0 (not at all) to 1; Anserini's default."""
_EXACT_LENGTHS: Final = 24
_LONGEST_TABLE: Final = 256  # a frequency and a length code fit into 16 bits

Float32s = npt.NDArray[np.float32]


def encode_length(length: int) -> int:
    """Return the byte that stands for a document length in terms; lengths up to 39 are exact, longer ones lose low bits.

    Example:
        >>> encode_length(10), encode_length(107), decode_length(encode_length(107))
        (10, 58, 104)
    """
    if length < _EXACT_LENGTHS:
        return length
    rest = length - _EXACT_LENGTHS
    shift = max(rest.bit_length() - 4, 0)
    return _EXACT_LENGTHS + (rest if rest < 8 else (rest >> shift & 7) | (shift + 1) << 3)


def decode_length(code: int) -> int:
    """Return the length that a byte stands for."""
    if code < _EXACT_LENGTHS:
        return code
    bits, shift = (code - _EXACT_LENGTHS) & 7, ((code - _EXACT_LENGTHS) >> 3) - 1
    return _EXACT_LENGTHS + (bits if shift < 0 else (bits | 8) << shift)


def inverse_norms(average_length: float) -> Float32s:
    """Return 1 / (k1 (1 - b + b length / average)) for each of the 256 length codes. Shape ``(256,)``."""
    average = np.float32(average_length)
    lengths = np.array([decode_length(code) for code in range(256)], dtype=np.float32)
    k1, b, one = np.float32(K1), np.float32(B), np.float32(1)
    return (one / (k1 * ((one - b) + b * lengths / average))).astype(np.float32)


def term_weight(num_documents: int, document_frequency: int, repetitions: int) -> np.float32:
    """Return the weight of a query term: its inverse document frequency times how often it stands in the query."""
    idf = np.float32(math.log(1 + (num_documents - document_frequency + 0.5) / (document_frequency + 0.5)))
    return np.float32(repetitions) * idf


def term_scores(
    weight: np.float32, frequencies: npt.NDArray[np.uint16], lengths: npt.NDArray[np.uint8], inverses: Float32s
) -> Float32s:
    """Return the score that one term adds to each document.

    Args:
        weight: From ``term_weight``.
        frequencies: How often the term stands in each document. Shape ``(n,)``.
        lengths: Length code of each document. Shape ``(n,)``.
        inverses: From ``inverse_norms``. Shape ``(256,)``.

    Returns:
        Shape ``(n,)``.

    Note:
        Many documents share few scores: a table of all that can occur, if it is shorter than the list, takes half of the time.
    """
    most = int(frequencies.max(initial=0))
    if most < _LONGEST_TABLE and 256 * most < len(frequencies):
        table = _scores(weight, np.arange(most + 1, dtype=np.float32)[:, None], inverses)
        return table.ravel().take(frequencies << 8 | lengths)
    return _scores(weight, frequencies.astype(np.float32), inverses.take(lengths))


def _scores(weight: np.float32, frequencies: Float32s, inverses: Float32s) -> Float32s:
    return weight - weight / (np.float32(1) + frequencies * inverses)
