"""GamePool: worker processes that make games side by side."""

import atexit
import contextlib
import functools
import json
import os
import queue
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from types import TracebackType
from typing import IO, Any

from mise_gym.errors import GameGenerationError


class GameWorkerProcess:
    """One worker process (see ``game_worker``), started with a fixed hash seed so that the bytes of a game are reproducible.

    It starts with its first request, and again after it died.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._log: IO[bytes] | None = None

    def make(self, request: dict[str, Any]) -> dict[str, Any]:
        """Have one game made.

        Raises:
            GameGenerationError: The worker says so, or it died.
        """
        process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except OSError:
            line = ""
        if not line.endswith("\n"):
            last_words = self._last_words(process)
            self.close()
            raise GameGenerationError(f"A process that makes games died: {last_words}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise GameGenerationError(answer["error"])
        return answer

    def close(self) -> None:
        """End the process and wait for it; a second call does nothing."""
        if self._process is None or self._log is None:
            return
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(OSError):
            self._process.stdin.write("\n")  # says goodbye even if a forked process keeps the pipe open
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()
        self._process = None

    def _start(self) -> subprocess.Popen[str]:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # closed in close()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "mise_gym.envs.game_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={**os.environ, "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"},
            text=True,
            encoding="utf-8",
            start_new_session=True,  # Ctrl-C is for us; the worker ends when its input does
        )
        return self._process

    def _last_words(self, process: subprocess.Popen[str]) -> str:
        process.wait()
        assert self._log is not None
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit status {process.returncode} without a message."


class GamePool:
    """Several worker processes; a context manager, so that none outlives its user.

    Args:
        workers: Processes to start.
    """

    def __init__(self, workers: int) -> None:
        self._idle: queue.SimpleQueue[GameWorkerProcess] = queue.SimpleQueue()
        self._workers = [GameWorkerProcess() for _ in range(workers)]
        for worker in self._workers:
            self._idle.put(worker)

    def make_all(self, requests: Iterable[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """Yield (request, answer) as games are finished, in any order; a failure cancels what has not begun."""
        with ThreadPoolExecutor(len(self._workers)) as threads:
            futures = {threads.submit(self._make, request): request for request in requests}
            try:
                for future in as_completed(futures):
                    yield futures[future], future.result()
            finally:
                threads.shutdown(wait=True, cancel_futures=True)

    def _make(self, request: dict[str, Any]) -> dict[str, Any]:
        worker = self._idle.get()
        try:
            return worker.make(request)
        finally:
            self._idle.put(worker)

    def __enter__(self) -> "GamePool":
        """Return the pool."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End all workers."""
        self.close()

    def close(self) -> None:
        """End all workers."""
        for worker in self._workers:
            worker.close()


@functools.cache
def standing_pool(process: int) -> GamePool:
    """Return a pool of one worker that stays until this process ends, for games that are made one at a time.

    Args:
        process: The number of this process, ``os.getpid()``; a forked process must not write into its parent's pipes.
    """
    assert process == os.getpid()
    pool = GamePool(1)
    atexit.register(pool.close)
    return pool
