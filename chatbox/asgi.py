"""The door of the web process: HTTP to Django, WebSockets to the consumers."""

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
sockets = URLRouter([*websocket_urlpatterns, re_path("", anywhere_else)])
application = ProtocolTypeRouter(
    {
        "http": django_application,
        "websocket": OriginGuard(AuthMiddleware(sockets), settings.WEBSOCKET_ORIGINS),
    }
)
