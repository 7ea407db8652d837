"""Fragments: parts of pages that are the same in every visit but for the address that their links begin with."""

import secrets
from collections.abc import Callable, Hashable
from typing import Final

_SOMEWHERE: Final = f"/{secrets.token_hex(16)}"
"""Stands for the address of a page while a fragment is written; nobody can guess it, so no text of a product has it in it."""


class Fragments:
    """Remembers what was written of products, which never change. Threads may use it together.

    Args:
        most: How many are kept; with one more, all are forgotten.

    Example:
        >>> fragments = Fragments(100)
        >>> write = lambda address: f'<a href="{address}/click?name=red">Red</a>'
        >>> print(fragments.get("red", "/s/ann/3", write), fragments.get("red", "/s/bob/7", write))
        <a href="/s/ann/3/click?name=red">Red</a> <a href="/s/bob/7/click?name=red">Red</a>
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: dict[Hashable, list[str]] = {}

    def __len__(self) -> int:
        """Return how many are kept."""
        return len(self._kept)

    def get(self, key: Hashable, address: str, write: Callable[[str], str]) -> str:
        """Return the HTML of a fragment.

        Args:
            key: All that it depends on, but for the address.
            address: What its links begin with.
            write: Returns the HTML for an address; called if the fragment is not kept.
        """
        pieces = self._kept.get(key)
        if pieces is None:
            pieces = write(_SOMEWHERE).split(_SOMEWHERE)
            if len(self._kept) >= self._most:
                self._kept.clear()
            self._kept[key] = pieces
        return address.join(pieces)
