"""One event loop in a thread of its own, so that synchronous code can call asynchronous models.

It works inside a running event loop too (a notebook, a web handler), where ``asyncio.run`` is refused: the caller's
thread waits, the work happens elsewhere.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

from atlas.errors import ConfigError

T = TypeVar("T")


class Background:
    """Runs coroutines for any number of threads; its thread starts at the first one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._pid = 0

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of ``work``, or what it raised. A caller that is interrupted cancels it."""
        if threading.current_thread() is self._thread:
            work.close()
            raise ConfigError("a model or policy called the synchronous client: inside of one, await the async client")
        future = asyncio.run_coroutine_threadsafe(work, self._running())
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def start(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Begin ``work``, which nobody waits for yet; what :meth:`close` finds under way it cancels."""
        return asyncio.run_coroutine_threadsafe(work, self._running())

    def tell(self, what: Callable[[], object]) -> None:
        """Have ``what`` called where the loop is running, and wait for nothing.

        For what is tidied up by whichever thread the garbage collector is in: by the loop's own, by one that holds a
        lock of ours, and when Python ends and no other thread moves any more.
        """
        loop = self._loop
        if loop is None or self._pid != os.getpid():
            return
        with suppress(RuntimeError):  # it was closed meanwhile
            loop.call_soon_threadsafe(what)

    def finish(self, work: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Run what ``work`` makes where the loop is running already; else there is nothing to finish."""
        with self._lock:
            running = self._loop is not None and self._pid == os.getpid()
        if running and threading.current_thread() is not self._thread:
            self.run(work())

    def close(self) -> None:
        """Cancel what is under way and end the thread."""
        with self._lock:
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is None or thread is None or self._pid != os.getpid():
            return
        loop.call_soon_threadsafe(loop.stop)
        thread.join()

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            # A forked process has the object but not the thread.
            if self._loop is None or self._pid != os.getpid():
                self._pid = os.getpid()
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=_serve, args=(self._loop,), name="atlas-wrap", daemon=True)
                self._thread.start()
            return self._loop


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()
