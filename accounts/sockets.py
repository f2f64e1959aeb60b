"""Who is at the other end of a WebSocket, where it came from, and how it is closed when they sign out."""

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from http.cookies import CookieError, SimpleCookie
from importlib import import_module
from typing import Any

from asgiref.sync import async_to_sync
from channels.db import database_sync_to_async
from channels.layers import get_channel_layer
from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest
from redis.exceptions import RedisError
from rest_framework_simplejwt.exceptions import InvalidToken

from accounts import tokens
from accounts.models import User

log = logging.getLogger(__name__)
BUS_PATIENCE_S = 2

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

# A storm of reconnecting browsers may take this many database connections of the pool, no more.
_executor = ThreadPoolExecutor(max_workers=4, thread_name_prefix="socket-auth")


class OriginGuard:
    """Refuses with 403, before accepting, every handshake whose Origin is not exactly one of `origins`.

    Browsers always send one and cannot set `Authorization`, so a socket without an Origin is let in
    only with a bearer token, for which cookies then count for nothing.
    """

    def __init__(self, application: Application, origins: list[str]) -> None:
        self.application = application
        self.origins = {origin.lower().encode() for origin in origins}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._is_welcome(scope):
            await self.application(scope, receive, send)
        else:
            log.warning("socket refused by its origin: %s", _list_headers(scope, b"origin"))
            await refuse(scope, receive, send)

    def _is_welcome(self, scope: Scope) -> bool:
        given = _list_headers(scope, b"origin")
        if not given:
            return _find_bearer(scope) is not None
        return len(given) == 1 and given[0].lower() in self.origins


class AuthMiddleware:
    """Sets `scope["user"]` (a User, or AnonymousUser) from a bearer token or, without one, the session cookie.

    Also sets `scope["session_digest"]`, by which `close_for` can name the socket's session; empty for tokens.
    """

    def __init__(self, application: Application) -> None:
        self.application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        digest = build_session_digest(_find_session_key(scope)) if _find_bearer(scope) is None else ""
        await self.application({**scope, "user": await find_user(scope), "session_digest": digest}, receive, send)


async def refuse(_scope: Scope, receive: Receive, send: Send) -> None:
    """End a handshake with 403."""
    await receive()
    await send({"type": "websocket.close", "code": 4403})


def close_for(user_id: int, session_key: str | None = None) -> None:
    """Ask all sockets of a person to close, or only those of one session. Returns at once.

    The message `session.ended` goes to the group `user.<id>`; `session` is "" or the digest of that session.
    With the bus away it is lost, which the log says; a socket's own re-check finds out then.
    """
    message = {"type": "session.ended", "session": build_session_digest(session_key or "")}
    try:
        async_to_sync(_send_to_group)(f"user.{user_id}", message)
    except (RedisError, OSError, TimeoutError) as error:
        log.error("could not close the sockets of user %s: %s", user_id, type(error).__name__)


async def _send_to_group(group: str, message: dict[str, str]) -> None:
    async with asyncio.timeout(BUS_PATIENCE_S):
        await get_channel_layer().group_send(group, message)


def build_session_digest(session_key: str) -> str:
    """A name for a session that is worth nothing to who reads it on the bus. Empty stays empty."""
    return hashlib.sha256(session_key.encode(errors="replace")).hexdigest()[:32] if session_key else ""


async def find_user(scope: Scope) -> User | AnonymousUser:
    """Who is at the other end now: for sockets that stay open longer than a session or a token may."""
    user: User | AnonymousUser = await _find_user_off_loop(_find_bearer(scope), _find_session_key(scope))
    return user


def _find_user(bearer: bytes | None, session_key: str) -> User | AnonymousUser:
    if bearer is not None:
        return _find_token_user(bearer)
    return _find_session_user(session_key) if session_key else AnonymousUser()


_find_user_off_loop = database_sync_to_async(_find_user, thread_sensitive=False, executor=_executor)


def _find_token_user(bearer: bytes) -> User | AnonymousUser:
    try:
        return tokens.authenticate(bearer)
    except InvalidToken:
        return AnonymousUser()


def _find_session_user(session_key: str) -> User | AnonymousUser:
    """As Django does it for a request: active account, and a session made with the present password."""
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    user = get_user(request)
    return user if isinstance(user, User) else AnonymousUser()


def _list_headers(scope: Scope, name: bytes) -> list[bytes]:
    return [value for key, value in scope.get("headers", []) if key.lower() == name]


def _find_bearer(scope: Scope) -> bytes | None:
    """What follows `Bearer`; None without such a header."""
    headers = _list_headers(scope, b"authorization")
    if len(headers) != 1:
        return None
    scheme, _, value = headers[0].partition(b" ")
    return value.strip() if scheme.lower() == b"bearer" else None


def _find_session_key(scope: Scope) -> str:
    cookies = SimpleCookie()
    try:
        for header in _list_headers(scope, b"cookie"):
            cookies.load(header.decode("latin1"))
    except CookieError:
        return ""
    morsel = cookies.get(settings.SESSION_COOKIE_NAME)
    return morsel.value if morsel else ""
