"""Words of a text, cut as Lucene 8's standard tokenizer cuts them (Unicode Standard Annex 29, with emoji as words).

References:
    Unicode Standard Annex 29, "Unicode Text Segmentation"; Unicode Technical Standard 51, "Unicode Emoji".
"""

import re
from typing import Final

from webshop_server.engine.characters import CharacterClasses

LONGEST_TOKEN: Final = 255
"""Tokens are cut here, in UTF-16 code units."""

_WINDOW: Final = 1024
"""Characters that are looked at for one token. A word without end would otherwise be read to its end for each of its pieces."""
_MARGIN: Final = 384
"""A token that ends so near the end of the window might go on behind it."""

_CLASSES: Final = CharacterClasses()

_X: Final = "[xyzuvc]*"  # marks and format characters belong to what they follow
_Y: Final = "(?:[xyc]|z(?!z*[eBgE]))*"  # the same, but selectors and the joiner of an emoji sequence are left alone
_CONNECT: Final = f"(?:_{_X})"
_KATAKANA: Final = f"k{_X}(?:{_CONNECT}*k{_X})*"
_MIXED: Final = f"(?:h{_X}(?:q{_X}|Q{_X}h{_X})|[nd]{_X}(?:[mpq]{_X}[nd]{_X})*|[ahg]{_X}(?:[lmq]{_X}[ahg]{_X})*)+"
_WORD: Final = f"{_CONNECT}*(?:{_KATAKANA}|{_MIXED})(?:{_CONNECT}+(?:{_KATAKANA}|{_MIXED}))*{_CONNECT}*"
_EMOJI_UNIT: Final = f"(?:B{_Y}E{_Y}|[eBg]{_Y}v?|E{_Y})"
_EMOJI: Final = f"(?:z+(?=[eBg]))?{_EMOJI_UNIT}(?:z+{_EMOJI_UNIT})*"
_TOKEN: Final = re.compile(
    f"{_WORD}|{_EMOJI}|#[xyzc]*v?c[xyzc]*|r{_X}r{_X}|(?:[sy]{_X})+|[ij]{_X}",
)


def tokenize(text: str) -> list[str]:
    """Return the words of ``text``, as they stand in it.

    Example:
        >>> tokenize("Women's 6.6ft cable, wi-fi ready")
        ["Women's", '6.6ft', 'cable', 'wi', 'fi', 'ready']
    """
    classes = text.translate(_CLASSES)
    if len(text) <= LONGEST_TOKEN // 2:
        return [text[match.start() : match.end()] for match in _TOKEN.finditer(classes)]
    return _tokenize_long(text, classes)


def _tokenize_long(text: str, classes: str) -> list[str]:
    tokens: list[str] = []
    at = 0
    while at < len(classes):
        match = _TOKEN.search(classes, at, at + _WINDOW)
        start, end = match.span() if match else (at + _WINDOW - _MARGIN,) * 2
        is_cut_off = at < start and at + _WINDOW - _MARGIN < end and at + _WINDOW < len(classes)
        if match is None or is_cut_off:
            at = start  # look again, with a whole window from there
            continue
        if end - start > LONGEST_TOKEN // 2:
            end = _cut(text, classes, start, end)
        tokens.append(text[start:end])
        at = end
    return tokens


def _cut(text: str, classes: str, start: int, end: int) -> int:
    """Return where a token ends if no more than ``LONGEST_TOKEN`` units of the text may be looked at."""
    limit, units = start, 0
    while limit < end and units + (size := 1 + (text[limit] > "\uffff")) <= LONGEST_TOKEN:
        units += size
        limit += 1
    match = _TOKEN.match(classes, start, limit)
    return match.end() if match else limit
