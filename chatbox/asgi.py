"""The door of the web process: HTTP to Django, WebSockets to the consumers."""

import asyncio
import os
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatbox.settings")
django_application = get_asgi_application()  # before anything that needs the app registry

from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.conf import settings  # noqa: E402
from django.urls import re_path  # noqa: E402

from accounts.sockets import AuthMiddleware, OriginGuard, refuse  # noqa: E402
from conversations.routing import websocket_urlpatterns  # noqa: E402
from ops.checks import refuse_unsafe_settings  # noqa: E402

refuse_unsafe_settings()

anywhere_else: Any = refuse  # an ASGI application, which Channels routes to; Django's types know views only


class RequestQueue:
    """Works on at most `limit` requests at once; the others wait for their turn.

    Each request takes a thread, and soon a database connection. Without a queue a hundred at once fight over the interpreter
    and most of them give up on the pool. What holds no connection while it lasts (an event stream) or tells whether this
    process lives does not queue.
    """

    def __init__(self, application: Any, *, limit: int) -> None:
        self.application = application
        self.turns = asyncio.Semaphore(limit)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["path"] == "/livez" or scope["path"].endswith("/events"):
            await self.application(scope, receive, send)
            return
        async with self.turns:
            await self.application(scope, receive, send)


sockets = URLRouter([*websocket_urlpatterns, re_path("", anywhere_else)])
application = ProtocolTypeRouter(
    {
        "http": RequestQueue(django_application, limit=settings.REQUESTS_AT_ONCE),
        "websocket": OriginGuard(AuthMiddleware(sockets), settings.WEBSOCKET_ORIGINS),
    }
)
