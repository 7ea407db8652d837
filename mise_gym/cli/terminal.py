"""Terminal: what ``mise-gym play`` prints and reads, in a terminal or through a pipe."""

import contextlib
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Final

_STYLES: Final = {"plain": "", "status": "2", "good": "1;32", "bad": "1;31", "note": "36"}
_WIDEST: Final = 100


class Terminal:
    """Prints wrapped and coloured text to a terminal, and plain text to anything else.

    Args:
        completions: Returns the words that Tab completes, when standard input is a terminal.
    """

    def __init__(self, completions: Callable[[], Sequence[str]]) -> None:
        self._is_terminal = sys.stdout.isatty()
        self._has_colour = self._is_terminal and "NO_COLOR" not in os.environ
        self._has_keyboard = sys.stdin.isatty()
        if self._has_keyboard:
            _enable_line_editing(completions)

    def show(self, text: str, style: str = "plain") -> None:
        """Print ``text`` in one of the styles plain, status, good, bad and note."""
        for line in text.splitlines() or [""]:
            wrapped = self._wrap(line)
            print(f"\x1b[{_STYLES[style]}m{wrapped}\x1b[0m" if self._has_colour and _STYLES[style] else wrapped)

    def ask(self) -> str | None:
        """Return the next line that the player types, or ``None`` at the end of the input."""
        try:
            line = input("\n> ")
        except EOFError:
            print()
            return None
        if not self._has_keyboard:
            print(line)
        return line.strip()

    def _wrap(self, line: str) -> str:
        if not self._is_terminal:
            return line
        return textwrap.fill(line, min(_WIDEST, shutil.get_terminal_size().columns), replace_whitespace=False)


def _enable_line_editing(completions: Callable[[], Sequence[str]]) -> None:
    """Give ``input`` a history and Tab completion of whole commands, where Python was built with readline."""
    with contextlib.suppress(ImportError):
        readline = import_module("readline")

        def complete(text: str, state: int) -> str | None:
            return dict(enumerate(word for word in completions() if word.startswith(text))).get(state)

        readline.set_completer_delims("")
        readline.set_completer(complete)
        readline.parse_and_bind("tab: complete")
