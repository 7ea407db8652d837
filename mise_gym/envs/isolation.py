"""Interpreters in a process of their own: whatever happens to the C code there, this process lives on."""

import contextlib
import os
import subprocess
import sys
import tempfile
import weakref
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from mise_gym.envs.interpreter import Exchange
from mise_gym.errors import GameFileError, SimulatorCrashed

_START_SECONDS: Final = 60.0
"""Longest time that the process may take to import what it needs."""
READY: Final = "ready"
"""What the process says first."""
_OPENINGS: Final = ("begin", "restore")
"""What a new process can be asked; anything else is about a moment that only the old one knew."""


class IsolatedInterpreters:
    """Interpreters in one process of their own, which starts when it is first needed and again after it died.

    Each environment has its own, so that a crash ends one episode and not its neighbours'. A forked process starts a new one.

    Args:
        timeout_seconds: Longest time for one command; after that the process is killed.
    """

    def __init__(self, timeout_seconds: float) -> None:
        self._timeout_seconds = timeout_seconds
        self._worker: _Worker | None = None

    @property
    def process_id(self) -> int | None:
        """The number of the process, ``None`` if none is running."""
        return None if self._worker is None else self._worker.process.pid

    def take(self, path: Path) -> "IsolatedInterpreter":
        """Return an interpreter of this story; the process opens it with the first request."""
        return IsolatedInterpreter(path, self)

    def give_back(self, story: "IsolatedInterpreter") -> None:
        """Do nothing: the process keeps its own idle interpreters."""

    def request(self, path: Path, method: str, *arguments: Any) -> Any:
        """Call a method of an ``Interpreter`` of this story over there, and return its result.

        Raises:
            GameFileError: The story is no playable file.
            SimulatorCrashed: The process died or took too long; the next ``begin`` or ``restore`` starts a new one.
        """
        if self._worker is None or self._worker.parent != os.getpid():
            if method not in _OPENINGS:
                raise SimulatorCrashed(
                    "the interpreter's process has ended, or belongs to the process that this one was forked from"
                )
            self._worker = _Worker()
        try:
            result, error = self._worker.call((path, method, arguments), self._timeout_seconds)
        except BaseException:
            self.close()  # an interrupted call leaves its answer behind, which the next one would take for its own
            raise
        if error is not None:
            raise error
        return result

    def close(self) -> None:
        """End the process; a second call does nothing."""
        if self._worker is not None:
            self._worker.end()
            self._worker = None


class IsolatedInterpreter:
    """One story in an interpreter of another process; see ``Interpreter`` for what its methods do.

    Args:
        path: A ``.z8`` file made by TextWorld.
        home: The process.
    """

    def __init__(self, path: Path, home: IsolatedInterpreters) -> None:
        self.path = path
        self._home = home

    def begin(self) -> tuple[str, Any]:
        """Start the story anew; return the opening text and a snapshot of this moment."""
        opening, snapshot = self._home.request(self.path, "begin")
        return str(opening), snapshot

    def restore(self, snapshot: Any) -> None:
        """Return to the moment of a snapshot of this story."""
        self._home.request(self.path, "restore", snapshot)

    def send(self, command: str, score: int) -> tuple[Exchange, tuple[str, ...]]:
        """Play a command; return what it did, and the names of the events that succeeded."""
        exchange, events = self._home.request(self.path, "send", command, score)
        return exchange, events

    def ask(self, command: str) -> str:
        """Return the answer to a command without playing it."""
        return str(self._home.request(self.path, "ask", command))


class _Worker:
    """The process (see ``interpreter_worker``) and the line to it. It ends with this object, or when this process does."""

    def __init__(self) -> None:
        self.parent = os.getpid()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # closed in _end()
        self._line, theirs = Pipe()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mise_gym.envs.interpreter_worker", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C is for us
            )
        self.end = weakref.finalize(self, _end, self.process, self._line, self._log, self.parent)
        if self._receive(_START_SECONDS) != READY:
            raise SimulatorCrashed("The process of an interpreter did not start as it should.")

    def call(self, request: tuple[Path, str, tuple[Any, ...]], timeout_seconds: float) -> tuple[Any, GameFileError | None]:
        """Return the answer to a request, or the error that it met."""
        try:
            self._line.send(request)
        except OSError:
            raise SimulatorCrashed(f"the interpreter's process {self._last_words()}") from None
        answer: tuple[Any, GameFileError | None] = self._receive(timeout_seconds)
        return answer

    def _receive(self, timeout_seconds: float) -> Any:
        try:
            if self._line.poll(timeout_seconds):
                return self._line.recv()
        except (EOFError, OSError):
            raise SimulatorCrashed(f"the interpreter's process {self._last_words()}") from None
        self.process.kill()
        raise SimulatorCrashed(f"the interpreter did not answer within {timeout_seconds:g} seconds")

    def _last_words(self) -> str:
        status = self.process.wait()
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return f"ended with status {status}" + (f": {lines[-1]}" if lines else "")


def _end(process: subprocess.Popen[bytes], line: Connection, log: Any, parent: int) -> None:
    """End a process; in a forked child, only let go of it."""
    line.close()
    log.close()
    if parent != os.getpid():
        process.returncode = 0  # there is nothing to wait for here
        return
    with contextlib.suppress(OSError):
        process.kill()
    process.wait()
