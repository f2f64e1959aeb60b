"""The door of the web process: HTTP to Django, WebSockets to the consumers."""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatbox.settings")
django.setup(set_prefix=False)  # before anything that needs the app registry

from asgiref.sync import ThreadSensitiveContext, sync_to_async  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.conf import settings  # noqa: E402
from django.core.handlers.asgi import ASGIHandler  # noqa: E402
from django.urls import re_path  # noqa: E402

from accounts.sockets import AuthMiddleware, OriginGuard, refuse  # noqa: E402
from conversations.routing import websocket_urlpatterns  # noqa: E402
from ops import interpreter  # noqa: E402
from ops.checks import refuse_unsafe_settings  # noqa: E402

refuse_unsafe_settings()

anywhere_else: Any = refuse  # an ASGI application, which Channels routes to; Django's types know views only


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
        finally:
            self.threads.put_nowait(thread)


sockets = URLRouter([*websocket_urlpatterns, re_path("", anywhere_else)])
application = ProtocolTypeRouter(
    {
        "http": RequestQueue(DjangoHandler(), limit=settings.REQUESTS_AT_ONCE),
        "websocket": OriginGuard(AuthMiddleware(sockets), settings.WEBSOCKET_ORIGINS),
    }
)
import_module(settings.ROOT_URLCONF)  # or the first request would load the views, behind the freeze
interpreter.settle()
