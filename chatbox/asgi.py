"""The door of the web process: HTTP to Django, WebSockets to the consumers."""

import os
from importlib import import_module
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatbox.settings")
django.setup(set_prefix=False)  # before anything that needs the app registry

from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.conf import settings  # noqa: E402
from django.urls import re_path  # noqa: E402

from accounts.sockets import AuthMiddleware, OriginGuard, refuse  # noqa: E402
from chatbox.handler import DjangoHandler, RequestQueue  # noqa: E402
from conversations.routing import websocket_urlpatterns  # noqa: E402
from ops import interpreter  # noqa: E402
from ops.checks import refuse_unsafe_settings  # noqa: E402

refuse_unsafe_settings()

anywhere_else: Any = refuse  # an ASGI application, which Channels routes to; Django's types know views only


sockets = URLRouter([*websocket_urlpatterns, re_path("", anywhere_else)])
application = ProtocolTypeRouter(
    {
        "http": RequestQueue(DjangoHandler(), limit=settings.REQUESTS_AT_ONCE),
        "websocket": OriginGuard(AuthMiddleware(sockets), settings.WEBSOCKET_ORIGINS),
    }
)
import_module(settings.ROOT_URLCONF)  # or the first request would load the views, behind the freeze
interpreter.settle()
