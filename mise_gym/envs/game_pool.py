"""GamePool: worker processes that make games side by side."""

import contextlib
import json
import os
import queue
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from types import TracebackType
from typing import Any

from mise_gym.errors import GameGenerationError


class GameWorkerProcess:
    """One worker process (see ``game_worker``), started with a fixed hash seed so that the bytes of a game are reproducible."""

    def __init__(self) -> None:
        environment = {**os.environ, "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"}
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # closed in close()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "mise_gym.envs.game_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=environment,
            text=True,
            encoding="utf-8",
            start_new_session=True,  # Ctrl-C is for us; the worker ends when its input does
        )

    def make(self, request: dict[str, Any]) -> dict[str, Any]:
        """Have one game made.

        Raises:
            GameGenerationError: The worker says so, or it died.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except OSError:
            line = ""
        if not line.endswith("\n"):
            raise GameGenerationError(f"A process that makes games died: {self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise GameGenerationError(answer["error"])
        return answer

    def close(self) -> None:
        """End the process and wait for it."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def _last_words(self) -> str:
        self._process.wait()
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit status {self._process.returncode} without a message."


class GamePool:
    """Several worker processes; a context manager, so that none outlives its user.

    Args:
        workers: Most processes to start.
        requests: How many games are wanted; no more processes than that are started.
    """

    def __init__(self, workers: int, requests: int) -> None:
        count = max(1, min(workers, requests))
        self._idle: queue.SimpleQueue[GameWorkerProcess] = queue.SimpleQueue()
        self._workers = [GameWorkerProcess() for _ in range(count)]
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
        for worker in self._workers:
            worker.close()
