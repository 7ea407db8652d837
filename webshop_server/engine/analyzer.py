"""The terms that a text is indexed and searched by: the chain of Lucene's default English analyzer.

Words, without a possessive ``'s``, in lower case, without stop words, stemmed.
"""

import functools
from typing import Final

from webshop_server.engine.stemmer import stem
from webshop_server.engine.tokenizer import tokenize

_STOP_WORDS: Final = """
a an and are as at be but by for if in into is it no not of on or such that the their then there these they this to was will
with
"""
STOP_WORDS: Final = frozenset(_STOP_WORDS.split())
_POSSESSIVES: Final = ("'s", "'S", "\u2019s", "\u2019S", "\uff07s", "\uff07S")


def analyze(text: str) -> list[str]:
    """Return the terms of ``text`` in order, with repetitions.

    Example:
        >>> analyze("The women's running shoes")
        ['women', 'run', 'shoe']
    """
    return [term for token in tokenize(text) if (term := _term_of(token)) is not None]


@functools.lru_cache(maxsize=1 << 17)
def _term_of(token: str) -> str | None:
    """Return the term of a token, or ``None`` for a stop word."""
    word = token[:-2] if token.endswith(_POSSESSIVES) else token
    word = word.lower() if word.isascii() else "".join(map(_lower, word))
    return None if word in STOP_WORDS else stem(word)


def _lower(character: str) -> str:
    """Return one lower-case character for one character, as Java does; "İ" becomes "i" and not two characters."""
    return character.lower()[0]
