"""Nouns of a product name, by rule: good enough to tell whether two names are about the same kind of thing."""

import re
from collections.abc import Callable, Sequence
from typing import Final

NounRule = Callable[[str], Sequence[str]]
"""Name of a product -> its nouns in lower case, in order, with repetitions."""

_TOKEN: Final = re.compile(r"[^\W\d_][\w'’-]*")
_OTHER_WORDS: Final = """
a about above after all also an and any are around as at back be been before below between both but by can could did do does
down during each every few for from had has have he her here him his how i if in inside into is it its just like made make
makes may me more most much my near no non nor not now of off on once one only onto or other our out outside over own per
plus she should since so some such than that the their them then there these they this those three through to too two under
until up upon us use used using very via was we were what when where which while who will with within without would yes you
your adjustable black blue brown classic clean cold cool dark deep dry dual durable easy extra fast fine first free fresh
full good grey great green happy hard heavy high hot large last lightweight little long low lower max mini modern natural
new nice old organic pink portable premium pure purple quick quiet real red rich round safe short slim small smooth soft
solid strong super sweet tall thick thin tiny ultra universal upper warm white wide wild wireless yellow young
"""
_NO_NOUNS: Final = frozenset(_OTHER_WORDS.split())
_ADJECTIVE_ENDINGS: Final = ("able", "ible", "ful", "less", "ous", "ly")


def nouns_by_rule(name: str) -> tuple[str, ...]:
    """Return the words of ``name`` that are neither function words nor, as far as a word shows it, adjectives or adverbs.

    Example:
        >>> nouns_by_rule("Soft Cotton T-Shirt for Men, Pack of 2")
        ('cotton', 't-shirt', 'men', 'pack')
    """
    words = (token.lower() for token in _TOKEN.findall(name))
    return tuple(word for word in words if word not in _NO_NOUNS and not (len(word) > 5 and word.endswith(_ADJECTIVE_ENDINGS)))
