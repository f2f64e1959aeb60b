"""The queue before the requests' threads."""

import asyncio
import threading
from typing import Any

from asgiref.sync import sync_to_async

from chatbox.handler import RequestQueue

SCOPE = {"path": "/chat/"}


async def use(queue: RequestQueue) -> None:
    await queue(SCOPE, None, None)


def test_requests_use_the_same_few_threads() -> None:
    names: set[str] = set()

    async def application(*_: Any) -> None:
        await sync_to_async(lambda: names.add(threading.current_thread().name))()

    async def ask() -> None:
        queue = RequestQueue(application, limit=2)
        for _ in range(5):
            await asyncio.gather(*(use(queue) for _ in range(4)))

    asyncio.run(ask())
    assert len(names) <= 2


def test_a_thread_whose_request_was_cut_short_comes_back_when_it_is_idle() -> None:
    may_end = threading.Event()
    has_begun = threading.Event()

    def view() -> None:
        has_begun.set()
        may_end.wait(5)

    async def application(*_: Any) -> None:
        asyncio.get_running_loop().run_in_executor(queue.held, view)
        await asyncio.Event().wait()

    queue: Any

    async def ask() -> tuple[int, int]:
        nonlocal queue
        queue = RequestQueue(application, limit=1)
        queue.held = queue.threads._queue[0]
        request = asyncio.create_task(use(queue))
        await asyncio.to_thread(has_begun.wait, 5)
        request.cancel()
        await asyncio.gather(request, return_exceptions=True)
        while_busy = queue.threads.qsize()
        may_end.set()
        async with asyncio.timeout(5):
            await queue.threads.get()
        return while_busy, queue.threads.qsize()

    assert asyncio.run(ask()) == (0, 0)
