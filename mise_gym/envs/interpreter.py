"""Interpreter: a Z-machine story in the C interpreter, guarded, and a pool of those that are idle.

``isolation`` has the same in a process of its own.
"""

import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from mise_gym.envs.compiler import header_problem
from mise_gym.errors import GameFileError
from mise_gym.extras import require

_EVENT: Final = re.compile(r"\[[^\]]+\]\n?")
_SCORE: Final = re.compile(r"<score>\s*(-?\d+)\s*</score>")
_TAGS: Final = re.compile(r"<(score|moves)>.*?</\1>", re.DOTALL)
_MENU: Final = re.compile(r"\s*Would you like to RESTART, RESTORE a saved game, QUIT.*\Z", re.DOTALL)
"""What the interpreter asks its user when a game is over; an agent has no use for it."""
_STATUS_BAR: Final = re.compile(r"\n>[^\n]*-= [^\n]*\s*\Z")
_WON: Final = "*** The End ***"
_LOST: Final = "*** You lost! ***"
_SEED: Final = 1
"""Seed of the interpreter; TextWorld's games have no chance in them, but 0 would mean the time of day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """What one command did."""

    text: str
    score: int
    is_won: bool = False
    is_lost: bool = False
    is_understood: bool = True


class Story(Protocol):
    """A story that is being told, by an ``Interpreter`` in this process or in another."""

    def begin(self) -> tuple[str, Any]:
        """Start the story anew; return the opening text and a snapshot of this moment."""
        ...

    def restore(self, snapshot: Any) -> None:
        """Return to the moment of a snapshot of this story."""
        ...

    def send(self, command: str, score: int) -> tuple[Exchange, tuple[str, ...]]:
        """Play a command; return what it did, and the names of the events that succeeded."""
        ...

    def ask(self, command: str) -> str:
        """Return the answer to a command without playing it."""
        ...


class Interpreters(Protocol):
    """Where interpreters come from."""

    def take(self, path: Path) -> Story:
        """Return an interpreter of this story, as the file is now, for the caller alone."""
        ...

    def give_back(self, story: Any) -> None:
        """Accept back what ``take`` returned."""
        ...


class Interpreter:
    """One story in the interpreter. It must not be used for another file: the C code behind it does not stand that.

    Args:
        path: A ``.z8`` file made by TextWorld.

    Raises:
        GameFileError: The file cannot be read, or would take the process down.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.version = path, version_of(path)
        try:
            problem = header_problem(path.read_bytes())
        except OSError as error:
            raise GameFileError(f"Cannot read the game {str(path)!r}: {error.strerror}. Check the path.") from error
        if problem:
            raise GameFileError(f"{str(path)!r} is not a playable game: {problem}. Copy the game again or make it anew.")
        jericho = require("jericho")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", jericho.UnsupportedGameWarning)  # it means: none of the classics it knows by heart
            self._machine = jericho.FrotzEnv(str(path), _SEED)

    def begin(self) -> tuple[str, Any]:
        """Start the story anew, and have it report events and the score from now on.

        Returns:
            The opening text, without the logo, and a snapshot of this moment.
        """
        opening, _ = self._machine.reset()
        self._machine.step("tw-trace-actions")
        self._machine.step("tw-extra-infos score")
        return _clean_opening(opening), self._machine.get_state()

    def restore(self, snapshot: Any) -> None:
        """Return to the moment of a snapshot of this story."""
        self._machine.set_state(snapshot)

    def send(self, command: str, score: int) -> tuple[Exchange, tuple[str, ...]]:
        """Play a command.

        Args:
            command: One plain command (see ``commands``).
            score: The score before, which stays if the story does not report another.

        Returns:
            What the command did, and the names of the events that succeeded.
        """
        raw = self._machine.step(command)[0]
        scores = _SCORE.findall(raw)
        events = [event.strip()[1:-1] for event in _EVENT.findall(raw)]
        exchange = Exchange(
            text=_clean(raw),
            score=int(scores[-1]) if scores else score,
            is_won=_WON in raw,
            is_lost=_LOST in raw,
            is_understood=bool(events),
        )
        names = [event.partition(" - succeeded")[0] for event in events if " - succeeded" in event]
        return exchange, tuple(name for name in names if "(" not in name and ")" not in name)

    def ask(self, command: str) -> str:
        """Return the answer to a command such as "look" without playing it."""
        state = self._machine.get_state()
        raw = self._machine.step(command)[0]
        self._machine.set_state(state)
        return _clean(raw)

    def close(self) -> None:
        """Free the interpreter."""
        self._machine.close()


class InterpreterPool:
    """Interpreters that nobody uses at the moment, the most recently used ones.

    Args:
        capacity: Most idle interpreters kept; each costs about 2 MB.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._idle: list[Interpreter] = []
        """The most recently used one last; several of a story that several environments play."""

    def take(self, path: Path) -> Interpreter:
        """Return an interpreter of this story for the caller alone; errors as ``Interpreter``."""
        version = version_of(path)
        for place in reversed(range(len(self._idle))):
            if self._idle[place].path == path:
                idle = self._idle.pop(place)
                if idle.version == version:
                    return idle
                idle.close()
        return Interpreter(path)

    def give_back(self, story: Interpreter) -> None:
        """Keep an interpreter for whoever wants its story next."""
        self._idle.append(story)
        while len(self._idle) > self._capacity:
            self._idle.pop(0).close()


def version_of(path: Path) -> tuple[int, int]:
    """Return what changes when a file is written: the time of its last change and its size; zeros if it cannot be read."""
    try:
        status = path.stat()
    except OSError:
        return (0, 0)
    return status.st_mtime_ns, status.st_size


def _clean(raw: str) -> str:
    """Drop what only the tracker reads, and empty lines beyond the first."""
    return re.sub(r"\n{3,}", "\n\n", _MENU.sub("", _TAGS.sub("", _EVENT.sub("", raw)))).strip()


def _clean_opening(raw: str) -> str:
    """Drop the logo in ASCII art and the status bar from the first text of a game."""
    lines = raw.rstrip().splitlines()
    art = [number for number, line in enumerate(lines) if "$$" in line]
    text = "\n".join(lines[art[-1] + 1 :] if art else lines)
    return _clean(_STATUS_BAR.sub("", text))
