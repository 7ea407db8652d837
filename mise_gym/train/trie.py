"""A token trie over the admissible commands: which tokens may come next while an action is written."""

from collections.abc import Iterable, Sequence
from functools import cached_property


class TokenTrie:
    """A node. Its children are found when they are asked for: most branches of a trie are never taken.

    Args:
        sequences: The token sequences that come through this node; none may be a prefix of another.
        depth: How many of their tokens lead here.

    Example:
        >>> trie = TokenTrie.of([[5, 2, 3], [5, 1]])
        >>> trie.tokens, trie.children[5].tokens, trie.children[5].children[1].tokens
        ((5,), (1, 2), ())
    """

    def __init__(self, sequences: Sequence[Sequence[int]], depth: int = 0) -> None:
        self._sequences = sequences
        self._depth = depth

    @classmethod
    def of(cls, commands: Iterable[Sequence[int]]) -> "TokenTrie":
        """Return the root of the trie of some token sequences, none of which may be a prefix of another."""
        return cls(list(commands))

    @cached_property
    def children(self) -> dict[int, "TokenTrie"]:
        """Next token -> next node; a node without children ends a command."""
        groups: dict[int, list[Sequence[int]]] = {}
        for sequence in self._sequences:
            if len(sequence) > self._depth:
                groups.setdefault(sequence[self._depth], []).append(sequence)
        return {token: TokenTrie(group, self._depth + 1) for token, group in groups.items()}

    @cached_property
    def tokens(self) -> tuple[int, ...]:
        """The tokens that may come next, in ascending order."""
        return tuple(sorted(self.children))
