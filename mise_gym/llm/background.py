"""BackgroundLoop: an event loop in a thread, so that the same coroutine serves callers with and without ``await``."""

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from contextlib import AsyncExitStack
from typing import Any, TypeVar

Value = TypeVar("Value")


class BackgroundLoop:
    """Runs coroutines in a thread of its own, and keeps things open for them until ``close``."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run_forever, name="mise-gym-requests", daemon=True)
        self._thread.start()
        self.resources = AsyncExitStack()
        """What has to be closed with the loop."""

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs; it does not in a process that was forked off."""
        return self._thread.is_alive()

    def run(self, work: Coroutine[Any, Any, Value]) -> Value:
        """Run a coroutine and wait for its value; an interrupt cancels it."""
        future = self._submit(work)
        try:
            return future.result()
        finally:
            future.cancel()

    async def run_async(self, work: Coroutine[Any, Any, Value]) -> Value:
        """Run a coroutine and await its value from another event loop; cancelling the wait cancels it."""
        return await asyncio.wrap_future(self._submit(work))

    def close(self) -> None:
        """Cancel what runs, close the resources and stop the thread; calling it again, or after a fork, does nothing."""
        if not self.is_alive:
            return
        self._submit(self._wind_up())
        if threading.current_thread() is not self._thread:  # as when garbage is collected there
            self._thread.join()

    def _submit(self, work: Coroutine[Any, Any, Value]) -> Future[Value]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _run_forever(self) -> None:
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()

    async def _wind_up(self) -> None:
        running = asyncio.all_tasks() - {asyncio.current_task()}
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await self.resources.aclose()
        self._loop.stop()
