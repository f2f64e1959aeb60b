"""The one event loop of this process that carries every provider stream, in a daemon thread of its own.

Synchronous callers (Celery's threads, admin views) come in through `run` and `submit`. The thread starts when needed.
"""

import asyncio
import atexit
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

import uvloop

T = TypeVar("T")
Closer = Callable[[], Awaitable[None]]
CLOSE_TIMEOUT_S = 5


class LoopThread:
    """An event loop in a thread. `at_close` takes what has to be closed on the loop before it ends."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closers: list[Closer] = []

    def get_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = self._start()
            return self._loop

    def at_close(self, closer: Closer) -> Closer:
        self._closers.append(closer)
        return closer

    def _start(self) -> asyncio.AbstractEventLoop:
        loop = uvloop.new_event_loop()  # a tenth of the CPU of a stream less than asyncio's own
        thread = threading.Thread(target=loop.run_forever, name="providers-loop", daemon=True)
        thread.start()
        self._thread = thread
        atexit.register(self.stop)
        return loop

    def stop(self) -> None:
        """At the end of the process: close connections, so that providers stop writing for nobody. Once is enough."""
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is None:
            return
        closing = asyncio.run_coroutine_threadsafe(self._close(), loop)
        closing.add_done_callback(lambda _: loop.call_soon_threadsafe(loop.stop))
        self._thread.join(CLOSE_TIMEOUT_S)

    async def _close(self) -> None:
        running = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await asyncio.gather(*(closer() for closer in self._closers), return_exceptions=True)


_thread = LoopThread()
at_close = _thread.at_close
stop = _thread.stop


def get_loop() -> asyncio.AbstractEventLoop:
    """The loop of this process. One lock, no start-up cost after the first call."""
    return _thread.get_loop()


def submit(coroutine: Coroutine[Any, Any, T]) -> "Future[T]":
    """Start it on the loop and return at once. Cancelling the future cancels the coroutine."""
    return asyncio.run_coroutine_threadsafe(coroutine, get_loop())


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Wait for it in the calling thread, which must not be the loop's own."""
    return submit(coroutine).result()
