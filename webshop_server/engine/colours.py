"""Colour words, which the purchase score uses to tell that "navy blue" and "blue" may be the same choice."""

from collections.abc import Sequence
from typing import Final

_COLOURS: Final = """
amber aqua azure beige black blue bronze brown burgundy charcoal copper coral cream crimson cyan emerald gold gray green
grey indigo ivory jade khaki lavender lilac lime magenta maroon mauve mint navy ochre olive orange orchid peach pink plum
purple red rose ruby rust salmon sand sapphire scarlet silver slate tan taupe teal turquoise violet white yellow
"""
DEFAULT_COLOURS: Final = tuple(_COLOURS.split())
"""Our own list. A catalogue of WebShop's data should be built with WebShop's list, from a checkout of it: scores depend on it."""


class ColourWords:
    """Reduces a text to the first colour word in it.

    Args:
        words: Colour words; the first one in this order that is part of a text wins, also within a word: "shredded" is "red".
    """

    def __init__(self, words: Sequence[str] = DEFAULT_COLOURS) -> None:
        self.words = tuple(words)
        self._known: dict[str | tuple[str, str], str] = {}

    def reduce(self, choice: str | tuple[str, str]) -> str:
        """Return the colour word of a value, or of a name and value of which one *is* a colour word; else the text of it."""
        if (known := self._known.get(choice)) is not None:
            return known
        reduced = next((word for word in self.words if word in choice), str(choice))
        if len(self._known) < 1 << 16:
            self._known[choice] = reduced
        return reduced
