"""Registry: a name, or "module:Class", becomes the thing it names, imported only when asked for."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from mise_gym.errors import UnknownNameError


def unknown_name(kind: str, name: str, known: Mapping[str, Any] | list[str]) -> UnknownNameError:
    """Build the error for a name that is not in a table, with the nearest known one.

    Example:
        >>> str(unknown_name("judge", "lenght", ["length", "constant"]))
        "No judge named 'lenght'. Did you mean 'length'? Known: constant, length."
    """
    names = sorted(known)
    close = get_close_matches(str(name), names, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return UnknownNameError(f"No {kind} named {name!r}.{hint} Known: {', '.join(names)}.")


class Registry(Mapping[str, str]):
    """A table from names to ``"module:Class"`` strings.

    Args:
        kind: What the rows are, for messages ("judge").
        rows: Name -> ``"module:Class"``.
    """

    def __init__(self, kind: str, rows: Mapping[str, str]) -> None:
        self.kind = kind
        self._rows = dict(rows)

    def load(self, name: str) -> Any:
        """Return the class that ``name`` stands for.

        Args:
            name: A row of the table, or ``"module:Class"`` for somebody else's plug-in.

        Raises:
            UnknownNameError: Neither a row nor an importable ``"module:Class"``.
        """
        target = self._rows.get(name, name)
        module, colon, attribute = target.partition(":")
        if not colon:
            raise unknown_name(self.kind, name, self)
        try:
            return getattr(import_module(module), attribute)
        except (ModuleNotFoundError, AttributeError) as error:
            if name in self._rows:
                raise
            raise UnknownNameError(f"Cannot load the {self.kind} {name!r}: {error}.") from error

    def __getitem__(self, name: str) -> str:
        """Return the ``"module:Class"`` string of a row."""
        return self._rows[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self._rows)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._rows)
