"""The WebSocket door of a conversation: events go out, and a viewer may say what it misses. Commands come in by HTTP."""

import asyncio
import contextlib
import logging
import random
import time
from typing import Annotated, Any
from urllib.parse import parse_qs
from uuid import UUID

import msgspec
from channels.generic.websocket import AsyncWebsocketConsumer
from redis.exceptions import RedisError

from accounts import sockets
from conversations import queries
from conversations.errors import ConversationNotFound
from conversations.limits import TokenBucket
from conversations.stream.feed import Feed
from conversations.stream.frames import Format
from conversations.stream.reading import in_reader

log = logging.getLogger(__name__)
SIGNED_OUT = 4401
NOT_FOUND = 4404
# Of the protocol's own codes Daphne sends only 1000: at the others `close` raises, and the socket stays open in silence.
BAD_MESSAGE = 4400
TOO_LARGE = 4413
TOO_MANY = 4429
TRY_AGAIN = 4503
NO_LAYER = "none"
MAX_MESSAGE_BYTES = 4096
BUS_PATIENCE_S = 2
# `close_for` ends sockets at once; this finds what it missed while the bus was away, and tokens that have expired. Between half
# of it and all of it: sockets that came together after a restart would be checked together, which held up everything for 0.2 s.
RECHECK_S = 60


def choose_recheck_s() -> float:
    return RECHECK_S * random.uniform(0.5, 1.0)  # noqa: S311


class Resume(msgspec.Struct, tag_field="type", tag="resume"):
    reply: UUID
    at: Annotated[int, msgspec.Meta(ge=0)] = 0


_decode = msgspec.json.Decoder(Resume).decode
check_access = in_reader(queries.get_conversation)


class ConversationConsumer(AsyncWebsocketConsumer):
    feed: Feed | None = None
    sender: "asyncio.Task[None] | None" = None
    group = ""
    has_begun = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """With the bus away there is no channel layer; the text comes from the checkpoints, and sessions are rechecked."""
        try:
            await super().__call__(scope, receive, send)
            return
        except (RedisError, OSError):
            if self.has_begun:
                raise
        self.channel_layer_alias = NO_LAYER
        await super().__call__(scope, receive, send)

    async def connect(self) -> None:
        """Close codes after accept, since a refused handshake hides its reason from browsers."""
        self.has_begun = True
        await self.accept()
        conversation_id: UUID = self.scope["url_route"]["kwargs"]["conversation_id"]
        if code := await self._find_objection(conversation_id):
            await self.close(code)
            return
        await self._join_group(f"user.{self.scope['user'].pk}")
        self.resumes = TokenBucket(rate=5, burst=20)
        self.feed = Feed(conversation_id, wanted=self._get_format())
        self.sender = asyncio.create_task(self._send_or_close(self.feed, conversation_id))

    async def _find_objection(self, conversation_id: UUID) -> int | None:
        """The code to close with, or None while all is well."""
        user = self.scope["user"]
        if not user.is_authenticated:
            return SIGNED_OUT
        try:
            await check_access(user=user, conversation_id=conversation_id)
        except ConversationNotFound:
            return NOT_FOUND
        return None

    def _get_format(self) -> Format:
        query = parse_qs(self.scope["query_string"].decode(errors="replace"))
        return "html" if query.get("format") == ["html"] else "text"

    async def _send_or_close(self, feed: Feed, conversation_id: UUID) -> None:
        """A feed that fails (the database is away, say) closes the socket: the page comes back and reads afresh."""
        try:
            await self.close(await self._send_forever(feed, conversation_id))
        except ConversationNotFound:
            await self.close(NOT_FOUND)
        except Exception:
            log.exception("feed of conversation %s failed", conversation_id)
            await self.close(TRY_AGAIN)

    async def _send_forever(self, feed: Feed, conversation_id: UUID) -> int:
        """Until there is an objection, whose code it returns."""
        check_at = time.monotonic() + choose_recheck_s()
        async with feed:
            async for frame in feed.listen():
                await self.send(text_data=frame)
                if time.monotonic() < check_at:
                    continue
                check_at = time.monotonic() + choose_recheck_s()
                self.scope["user"] = await sockets.find_user(self.scope)
                if code := await self._find_objection(conversation_id):
                    return code
        return TRY_AGAIN

    async def _join_group(self, group: str) -> None:
        if self.channel_layer is None:
            return
        with contextlib.suppress(RedisError, OSError, TimeoutError):
            async with asyncio.timeout(BUS_PATIENCE_S):
                await self.channel_layer.group_add(group, self.channel_name)
        self.group = group

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if text_data is None or len(text_data) > MAX_MESSAGE_BYTES:
            await self.close(TOO_LARGE)
            return
        try:
            resume = _decode(text_data)
        except (msgspec.DecodeError, RecursionError):
            await self.close(BAD_MESSAGE)
            return
        if self.feed is None:
            return
        if self.resumes.take():
            self.feed.resume(resume.reply, at=resume.at)
        else:
            await self.close(TOO_MANY)

    async def session_ended(self, event: dict[str, Any]) -> None:
        """One session of the user has ended, or all of them."""
        if event["session"] in ("", self.scope["session_digest"]):
            await self.close(SIGNED_OUT)

    async def disconnect(self, code: int) -> None:
        if self.sender is not None and self.sender is not asyncio.current_task():
            self.sender.cancel()
            await asyncio.gather(self.sender, return_exceptions=True)
        if self.group:
            with contextlib.suppress(RedisError, OSError, TimeoutError):
                async with asyncio.timeout(BUS_PATIENCE_S):
                    await self.channel_layer.group_discard(self.group, self.channel_name)
