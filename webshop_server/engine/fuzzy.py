"""How alike two short texts are, by the words that they share: thefuzz's ``token_set_ratio``, to the unit."""

import functools
import re
from typing import Final

_LATIN_1: Final = dict.fromkeys(range(128, 256))
_NO_WORD: Final = re.compile(r"[\W_]")


@functools.lru_cache(maxsize=1 << 16)
def token_set_ratio(first: str, second: str) -> int:
    """Return the likeness of two texts in percent.

    Case, order, repetition, punctuation and letters of Latin-1 beyond ASCII do not count. Texts of which one has all words of the
    other are fully alike; so "large" is "x-large". Empty texts are like nothing.

    Example:
        >>> token_set_ratio("easy to clean", "clean: easy"), token_set_ratio("pack of 1", "pack of 2")
        (100, 89)
    """
    a, b = _words(first), _words(second)
    if not a or not b:
        return 0
    common = a & b
    if common and common in (a, b):
        return 100
    only_a, only_b = " ".join(sorted(a - b)), " ".join(sorted(b - a))
    shared = len(" ".join(sorted(common)))
    gap = 1 if shared else 0
    length_a, length_b = shared + gap + len(only_a), shared + gap + len(only_b)
    ratios = [_ratio(_distance(only_a, only_b), length_a + length_b)]
    if shared:
        ratios += [_ratio(gap + len(only_a), shared + length_a), _ratio(gap + len(only_b), shared + length_b)]
    return round(max(ratios))


def _words(text: str) -> set[str]:
    words = _NO_WORD.sub(" ", text.translate(_LATIN_1))
    lower = words.lower() if words.isascii() else "".join(letter.lower()[0] for letter in words)  # "İ" stays one letter
    return set(lower.split())


def _ratio(distance: int, length: int) -> float:
    return 100 - 100 * distance / length


def _distance(first: str, second: str) -> int:
    """Return how many letters must be deleted and inserted: both lengths less twice the longest common subsequence.

    References:
        H. Hyyrö, "Bit-parallel LCS-length computation revisited", 2004.
    """
    places: dict[str, int] = {}
    for place, letter in enumerate(first):
        places[letter] = places.get(letter, 0) | 1 << place
    everything = (1 << len(first)) - 1
    row = everything
    for letter in second:
        matches = row & places.get(letter, 0)
        row = ((row + matches) | (row - matches)) & everything
    common = (~row & everything).bit_count()
    return len(first) + len(second) - 2 * common
