"""A process that runs interpreters for ``isolation``: ``python -m mise_gym.envs.interpreter_worker FILE_DESCRIPTOR``.

The line is read by a thread of its own, so that the process also ends with its owner while the C code is in an endless loop.
"""

import os
import queue
import sys
import threading
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from mise_gym.envs.interpreter import InterpreterPool
from mise_gym.envs.isolation import READY
from mise_gym.errors import GameFileError
from mise_gym.extras import require

_IDLE: Final = 8
"""Interpreters kept; an environment plays one game after the other."""
Request = tuple[Path, str, tuple[Any, ...]]


def main(descriptor: int) -> None:
    """Answer requests until the other end of the line is closed."""
    line = Connection(descriptor)
    requests: queue.SimpleQueue[Request] = queue.SimpleQueue()
    require("jericho")
    threading.Thread(target=_listen, args=(line, requests), daemon=True).start()
    pool = InterpreterPool(_IDLE)
    line.send(READY)
    while True:
        line.send(answer(pool, *requests.get()))


def answer(pool: InterpreterPool, path: Path, method: str, arguments: tuple[Any, ...]) -> tuple[Any, GameFileError | None]:
    """Return the result of a method of an interpreter, or the error about its file."""
    try:
        interpreter = pool.take(path)
    except GameFileError as error:
        return None, error
    result = getattr(interpreter, method)(*arguments)
    pool.give_back(interpreter)
    return result, None


def _listen(line: Connection, requests: "queue.SimpleQueue[Request]") -> None:
    while True:
        try:
            requests.put(line.recv())
        except (EOFError, OSError):
            os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
