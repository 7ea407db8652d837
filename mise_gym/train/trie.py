"""A token trie over the admissible commands: which tokens may come next while an action is written."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class TokenTrie:
    """A node; ``children`` maps the next token to the next node, and a node without children ends a command.

    Example:
        >>> trie = TokenTrie.of([[5, 1], [5, 2, 3]])
        >>> sorted(trie.children), sorted(trie.children[5].children)
        ([5], [1, 2])
    """

    children: dict[int, "TokenTrie"] = field(default_factory=dict)

    @classmethod
    def of(cls, commands: Iterable[Sequence[int]]) -> "TokenTrie":
        """Build the trie of some token sequences, none of which may be a prefix of another."""
        root = cls()
        for command in commands:
            node = root
            for token in command:
                node = node.children.setdefault(token, cls())
        return root
