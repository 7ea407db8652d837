"""What a character is to the tokenizer: one letter per class of Unicode's word-break and emoji properties.

The classes are those that Lucene 8's standard tokenizer works with (Unicode 9 word breaks, emoji 11), derived from general
categories and short lists of ranges, so that no table of characters has to be loaded.
"""

import unicodedata
from bisect import bisect_right
from typing import Final

Ranges = tuple[tuple[int, int], ...]


def _ranges(text: str) -> Ranges:
    """Read ranges such as "41-5A 5F"."""
    ends = [[int(end, 16) for end in each.split("-")] for each in text.split()]
    return tuple((end[0], end[-1]) for end in ends)


_EXACT: Final = {
    **dict.fromkeys(".\u2018\u2019\u2024\ufe52\uff07\uff0e", "m"),
    **dict.fromkeys(":\u00b7\u02d7\u0387\u05f4\u2027\ufe13\ufe55\uff1a", "l"),
    **dict.fromkeys(",;\u037e\u0589\u060c\u060d\u066c\u07f8\u2044\ufe10\ufe14\ufe50\ufe54\uff0c\uff1b", "p"),
    **dict.fromkeys("_\u202f\u203f\u2040\u2054\ufe33\ufe34\ufe4d\ufe4e\ufe4f\uff3f", "_"),
    **dict.fromkeys("\u2139\u24c2\U0001f170\U0001f171\U0001f17e\U0001f17f", "g"),
    **dict.fromkeys("#*", "#"),
    **dict.fromkeys("\u3031\u3032\u3033\u3034\u3035\u309b\u309c\u30a0\u30fc", "k"),
    **dict.fromkeys("\uff9e\uff9f\u200c\u1a7f\u1cf2\u1cf3", "x"),
    **dict.fromkeys("\u05f3\u3005\u303b", "a"),
    "'": "q",
    '"': "Q",
    "\ufe0f": "v",
    "\ufe0e": "u",
    "\u200d": "z",
    "\u200b": " ",
    "\u20e3": "c",
    "\u066b": "n",
}

_SOUTH_EAST_ASIAN: Final[Ranges] = (
    (0xE01, 0xE3A), (0xE40, 0xE4E), (0xE81, 0xECF), (0xEDC, 0xEDF), (0x1000, 0x103F), (0x1050, 0x109F), (0x1780, 0x17D3),
    (0x17D7, 0x17D7), (0x17DC, 0x17DD), (0x1950, 0x19C9), (0x19DA, 0x19DF), (0x1A20, 0x1AAD), (0xA9E0, 0xA9EF),
    (0xA9FA, 0xA9FE), (0xAA60, 0xAAC2), (0xAADB, 0xAADF), (0x11700, 0x1172B), (0x1173A, 0x1173B), (0x1173F, 0x1173F),
)  # fmt: skip
_HAN: Final[Ranges] = (
    (0x2E80, 0x2E99), (0x2E9B, 0x2EF3), (0x2F00, 0x2FD5), (0x3005, 0x3005), (0x3007, 0x3007), (0x3021, 0x3029),
    (0x3038, 0x303B), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAD9), (0x20000, 0x2A6DF), (0x2A700, 0x2EBE0),
    (0x2F800, 0x2FA1D), (0x30000, 0x3134A),
)  # fmt: skip
_HIRAGANA: Final[Ranges] = ((0x3041, 0x3096), (0x309D, 0x309F), (0x1B001, 0x1B11F), (0x1B150, 0x1B152), (0x1F200, 0x1F200))
_KATAKANA: Final[Ranges] = (
    (0x30A1, 0x30FA), (0x30FD, 0x30FF), (0x31F0, 0x31FF), (0x32D0, 0x32FE), (0x3300, 0x3357), (0xFF66, 0xFF9D),
    (0x1B000, 0x1B000),
)  # fmt: skip
_HEBREW: Final[Ranges] = ((0x5D0, 0x5EA), (0x5EF, 0x5F2), (0xFB1D, 0xFB1D), (0xFB1F, 0xFB28), (0xFB2A, 0xFB4F))
_CIRCLED_LETTERS: Final[Ranges] = ((0x24B6, 0x24E9), (0x1F130, 0x1F149), (0x1F150, 0x1F169), (0x1F172, 0x1F189))
_MODIFIER_BASES: Final[Ranges] = (
    (0x261D, 0x261D), (0x26F9, 0x26F9), (0x270A, 0x270D), (0x1F385, 0x1F385), (0x1F3C2, 0x1F3C4), (0x1F3C7, 0x1F3C7),
    (0x1F3CA, 0x1F3CC), (0x1F442, 0x1F443), (0x1F446, 0x1F450), (0x1F466, 0x1F469), (0x1F46E, 0x1F46E), (0x1F470, 0x1F478),
    (0x1F47C, 0x1F47C), (0x1F481, 0x1F483), (0x1F485, 0x1F487), (0x1F4AA, 0x1F4AA), (0x1F574, 0x1F575), (0x1F57A, 0x1F57A),
    (0x1F590, 0x1F590), (0x1F595, 0x1F596), (0x1F645, 0x1F647), (0x1F64B, 0x1F64F), (0x1F6A3, 0x1F6A3), (0x1F6B4, 0x1F6B6),
    (0x1F6C0, 0x1F6C0), (0x1F6CC, 0x1F6CC), (0x1F918, 0x1F91C), (0x1F91E, 0x1F91F), (0x1F926, 0x1F926), (0x1F930, 0x1F939),
    (0x1F93D, 0x1F93E), (0x1F9B5, 0x1F9B6), (0x1F9B8, 0x1F9B9), (0x1F9D1, 0x1F9DD),
)  # fmt: skip
_PICTOGRAPHS: Final[Ranges] = (
    (0xA9, 0xA9), (0xAE, 0xAE), (0x203C, 0x203C), (0x2049, 0x2049), (0x2122, 0x2122), (0x2139, 0x2139), (0x2194, 0x2199),
    (0x21A9, 0x21AA), (0x231A, 0x231B), (0x2328, 0x2328), (0x2388, 0x2388), (0x23CF, 0x23CF), (0x23E9, 0x23F3), (0x23F8, 0x23FA),
    (0x25AA, 0x25AB), (0x25B6, 0x25B6), (0x25C0, 0x25C0), (0x25FB, 0x25FE), (0x2600, 0x2605), (0x2607, 0x2612), (0x2614, 0x2685),
    (0x2690, 0x2705), (0x2708, 0x2712), (0x2714, 0x2714), (0x2716, 0x2716), (0x271D, 0x271D), (0x2721, 0x2721), (0x2728, 0x2728),
    (0x2733, 0x2734), (0x2744, 0x2744), (0x2747, 0x2747), (0x274C, 0x274C), (0x274E, 0x274E), (0x2753, 0x2755), (0x2757, 0x2757),
    (0x2763, 0x2767), (0x2795, 0x2797), (0x27A1, 0x27A1), (0x27B0, 0x27B0), (0x27BF, 0x27BF), (0x2934, 0x2935), (0x2B05, 0x2B07),
    (0x2B1B, 0x2B1C), (0x2B50, 0x2B50), (0x2B55, 0x2B55), (0x3030, 0x3030), (0x303D, 0x303D), (0x3297, 0x3297), (0x3299, 0x3299),
    (0x1F000, 0x1F0FF), (0x1F10D, 0x1F10F), (0x1F12F, 0x1F12F), (0x1F16C, 0x1F16F), (0x1F18E, 0x1F18E), (0x1F191, 0x1F19A),
    (0x1F1AD, 0x1F1E5), (0x1F201, 0x1F20F), (0x1F21A, 0x1F21A), (0x1F22F, 0x1F22F), (0x1F232, 0x1F23A), (0x1F23C, 0x1F23F),
    (0x1F249, 0x1F3FA), (0x1F400, 0x1F53D), (0x1F546, 0x1F64F), (0x1F680, 0x1F6FF), (0x1F774, 0x1F77F), (0x1F7D5, 0x1F7FF),
    (0x1F80C, 0x1F80F), (0x1F848, 0x1F84F), (0x1F85A, 0x1F85F), (0x1F888, 0x1F88F), (0x1F8AE, 0x1F8FF), (0x1F90C, 0x1F93A),
    (0x1F93C, 0x1F945), (0x1F947, 0x1FFFD),
)  # fmt: skip
_NOT_YET: Final = """
560 588 5EF 7FD 860-887 889-89F 8B5 8BE-8D3 9FC 9FE AFA-AFF B55 C04 C3C C5D CDD CF3-D00 D04 D3B-D3C D81 E86 E89 E8C E8E-E93 E98
EA0 EA8-EA9 EAC EBA ECE 170D 1715-171F 180F 1878 1ABF-1ACE 1B4C 1C89-1CBF 1CF7 1CFA 1DF6-1DFA 2C2F 2C5F 312E-312F 31BB-31BF
4DB6-4DBF 9FD6-9FFF A7AF A7B8-A7F6 A82C A8FE-A8FF AB66-AB69 FA6E-FA6F 1032D-1032F 10570-105F3 10780-107BA 10A34-10A35 10D00-10D8F
10E80-10EAC 10EB0-10F1C 10F27-10F50 10F70-10F85 10FB0-10FC4 10FE0-10FF6 11070-11075 110C2-110CD 11144-11147 111C9 111CE-111CF
1123F-11241 1133B 11380-113E2 1145E-11461 116B8 116D0-116E3 1171A 11740-1183A 11900-11943 11950-119E1 119E3-11A3E 11A47-11A99
11A9D 11AB0-11ABF 11B60-11BF9 11D00-11EF6 11F00-11FB0 12F90-12FF0 13430-143FA 16100-16139 16A70-16AC9 16D40-16E7F 16EA0-16ED3
16F45-16F4F 16F7F-16F87 16FE1 16FE3-1AFFE 1B002-1B2FB 1CCF0-1CF46 1DF00-1DF2A 1E030-1E14E 1E290-1E2F9 1E4D0-1E7FE 1E94B
2A6D7-2A6FF 2B735-2B73F 2B81E-2B81F 2CEA2-2EE5D 30000-3347F
"""
"""Letters, marks and digits that came after Unicode 9, and Tangut, which is no word either; in hexadecimal."""
_BY_RANGE: Final[tuple[tuple[str, Ranges], ...]] = (
    (" ", _ranges(_NOT_YET)),
    ("r", ((0x1F1E6, 0x1F1FF),)),
    ("E", ((0x1F3FB, 0x1F3FF),)),
    ("i", _HAN),
    ("j", _HIRAGANA),
    ("B", _MODIFIER_BASES),
    ("e", _PICTOGRAPHS),
    ("a", _CIRCLED_LETTERS),
)
_LETTERS: Final = frozenset({"Lu", "Ll", "Lt", "Lm", "Lo", "Nl"})
_MARKS: Final = frozenset({"Mn", "Mc", "Me"})


class CharacterClasses(dict[int, str]):
    """A translation table from characters to classes, for ``str.translate``, which fills itself as characters turn up.

    Classes: ``a`` letter, ``h`` Hebrew letter, ``d`` ASCII digit, ``n`` other digit, ``k`` Katakana, ``i`` Han, ``j`` Hiragana,
    ``s``/``y`` South-East Asian letter/mark, ``x`` other mark or format character, ``z`` zero-width joiner, ``u``/``v``
    text/emoji presentation selector, ``c`` key cap, ``m`` between letters or digits, ``l`` between letters, ``p`` between digits,
    ``q``/``Q`` straight single/double quote, ``_`` connector, ``r`` regional indicator, ``e`` pictograph, ``B`` pictograph that
    takes a modifier, ``E`` emoji modifier, ``g`` both letter and pictograph, ``#`` key-cap base, blank for everything else.
    """

    def __missing__(self, code: int) -> str:
        """Work out the class of a character and remember it."""
        self[code] = character_class = _class_of(code)
        return character_class


def _class_of(code: int) -> str:
    if (exact := _EXACT.get(chr(code))) is not None:
        return exact
    for character_class, ranges in _BY_RANGE:
        if _within(code, ranges):
            return character_class
    return _class_by_category(code, unicodedata.category(chr(code)))


def _class_by_category(code: int, category: str) -> str:
    if category == "Cn":
        return " "
    if category == "Nd":
        return "d" if code < 128 else "n"
    if _within(code, _SOUTH_EAST_ASIAN):
        return "y" if category in _MARKS else "s"
    if category in _MARKS or category == "Cf":
        return "x"
    if category in _LETTERS:
        return _class_of_letter(code)
    return "k" if _within(code, _KATAKANA) else " "


def _class_of_letter(code: int) -> str:
    if _within(code, _KATAKANA):
        return "k"
    if code == 0x3006 or "IDEOGRAPH" in unicodedata.name(chr(code), ""):
        return " "
    return "h" if _within(code, _HEBREW) else "a"


def _within(code: int, ranges: Ranges) -> bool:
    at = bisect_right(ranges, (code, 0x110000))
    return at > 0 and code <= ranges[at - 1][1]
