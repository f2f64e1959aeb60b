"""How requests get to Django: a few at a time, each in one thread from its first middleware to its last."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.core.handlers.asgi import ASGIHandler
from django.db import close_old_connections


class DjangoHandler(ASGIHandler):
    """Middleware and view of a request run in one go in its thread.

    As Django does it, one middleware that is not async makes every other one change threads twice: a third of a request's cost.
    """

    def load_middleware(self, is_async: bool = False) -> None:
        super().load_middleware(is_async=False)
        self._middleware_chain: Any = sync_to_async(self._middleware_chain, thread_sensitive=True)


class RequestQueue:
    """Works on at most `limit` requests at once, each in one of as many threads; the others wait for their turn.

    Each request takes a thread, and soon a database connection. Without a queue a hundred at once fight over the interpreter
    and most of them give up on the pool. What holds no connection while it lasts (an event stream) or tells whether this
    process lives does not queue.
    """

    def __init__(self, application: Any, *, limit: int) -> None:
        self.application = application
        self.threads: asyncio.LifoQueue[ThreadPoolExecutor] = asyncio.LifoQueue()  # the last one used is the warmest
        for number in range(limit):
            self.threads.put_nowait(ThreadPoolExecutor(1, thread_name_prefix=f"request-{number}"))

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["path"] == "/livez" or scope["path"].endswith("/events"):
            await self.application(scope, receive, send)
            return
        thread = await self.threads.get()
        try:
            async with ThreadSensitiveContext(executor=thread):
                await self.application(scope, receive, send)
        except BaseException:
            self._take_back_when_idle(thread)
            raise
        self.threads.put_nowait(thread)

    def _take_back_when_idle(self, thread: ThreadPoolExecutor) -> None:
        """A view whose client has left goes on in its thread: the next request must not wait behind it."""
        loop = asyncio.get_running_loop()
        idle = thread.submit(close_old_connections)
        idle.add_done_callback(lambda _: loop.call_soon_threadsafe(self.threads.put_nowait, thread))
