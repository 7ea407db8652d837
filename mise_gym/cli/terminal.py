"""Screen and Terminal: what the commands print, and what ``mise-gym play`` reads, in a terminal or through a pipe."""

import contextlib
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Final, Literal

_STYLES: Final = {"plain": "", "status": "2", "good": "1;32", "bad": "1;31", "note": "36"}
_SCALE: Final = ("38;5;196", "38;5;208", "38;5;220", "38;5;148", "38;5;40")
_WIDEST: Final = 100

Colour = Literal["auto", "always", "never"]


def visible(text: str) -> str:
    r"""Return ``text`` with everything that a terminal could obey, and what no file can encode, written as an escape.

    Recorded text is written by agents and environments. A terminal would otherwise let it move the cursor, hide what came before
    or change the window's title.

    Example:
        >>> visible("a\x1b[2Jb")
        'a\\x1b[2Jb'
    """
    return "".join(
        character if character.isprintable() or character in "\n\t" else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


class Screen:
    """Prints wrapped and coloured text to a terminal, and plain text to anything else.

    Args:
        colour: "auto" colours a terminal, unless ``NO_COLOR`` is set in the environment (https://no-color.org).
    """

    def __init__(self, colour: Colour = "auto") -> None:
        self._is_terminal = sys.stdout.isatty()
        self.has_colour = colour == "always" or (colour == "auto" and self._is_terminal and "NO_COLOR" not in os.environ)

    def show(self, text: str, style: str = "plain") -> None:
        """Print ``text`` in one of the styles plain, status, good, bad and note."""
        for line in text.splitlines() or [""]:
            print(self._paint(self._wrap(line), _STYLES[style]))

    def on_scale(self, text: str, value: float) -> str:
        """Return ``text`` in a colour between red (0) and green (1)."""
        return self._paint(text, _SCALE[min(int(value * len(_SCALE)), len(_SCALE) - 1)])

    def _paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.has_colour and code else text

    def _wrap(self, line: str) -> str:
        if not self._is_terminal:
            return line
        return textwrap.fill(line, min(_WIDEST, shutil.get_terminal_size().columns), replace_whitespace=False)


class Terminal(Screen):
    """A screen with a keyboard.

    Args:
        completions: Returns the words that Tab completes, when standard input is a terminal.
    """

    def __init__(self, completions: Callable[[], Sequence[str]]) -> None:
        super().__init__()
        self._has_keyboard = sys.stdin.isatty()
        if self._has_keyboard:
            _enable_line_editing(completions)

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


def _enable_line_editing(completions: Callable[[], Sequence[str]]) -> None:
    """Give ``input`` a history and Tab completion of whole commands, where Python was built with readline."""
    with contextlib.suppress(ImportError):
        readline = import_module("readline")

        def complete(text: str, state: int) -> str | None:
            return dict(enumerate(word for word in completions() if word.startswith(text))).get(state)

        readline.set_completer_delims("")
        readline.set_completer(complete)
        readline.parse_and_bind("tab: complete")
