"""The WebSocket door of a conversation: events go out, and a viewer may say what it misses. Commands come in by HTTP."""

import asyncio
import contextlib
import logging
from typing import Annotated, Any
from urllib.parse import parse_qs
from uuid import UUID

import msgspec
from channels.generic.websocket import AsyncWebsocketConsumer
from redis.exceptions import RedisError

from accounts.models import User
from conversations import queries
from conversations.errors import ConversationNotFound
from conversations.stream.feed import Feed
from conversations.stream.frames import Format
from conversations.stream.reading import in_reader

log = logging.getLogger(__name__)
SIGNED_OUT = 4401
NOT_FOUND = 4404
TOO_LARGE = 1009
BAD_MESSAGE = 1008
TRY_AGAIN = 1013
MAX_MESSAGE_BYTES = 4096


class Resume(msgspec.Struct, tag_field="type", tag="resume"):
    reply: UUID
    at: Annotated[int, msgspec.Meta(ge=0)] = 0


_decode = msgspec.json.Decoder(Resume).decode
check_access = in_reader(queries.get_conversation)


class ConversationConsumer(AsyncWebsocketConsumer):
    feed: Feed | None = None
    sender: "asyncio.Task[None] | None" = None

    async def connect(self) -> None:
        """Close codes after accept, since a refused handshake hides its reason from browsers."""
        await self.accept()
        user: User | None = self.scope["user"]
        conversation_id: UUID = self.scope["url_route"]["kwargs"]["conversation_id"]
        if user is None or not user.is_authenticated:
            await self.close(SIGNED_OUT)
            return
        try:
            await check_access(user=user, conversation_id=conversation_id)
        except ConversationNotFound:
            await self.close(NOT_FOUND)
            return
        await self._join_group(f"user.{user.pk}")
        self.sender = asyncio.create_task(self._send_or_close(conversation_id))

    async def _send_or_close(self, conversation_id: UUID) -> None:
        """A feed that fails (the database is away, say) closes the socket: the page comes back and reads afresh."""
        try:
            await self._send_forever(conversation_id)
        except Exception:
            log.exception("feed of conversation %s failed", conversation_id)
            await self.close(TRY_AGAIN)

    async def _send_forever(self, conversation_id: UUID) -> None:
        query = parse_qs(self.scope["query_string"].decode(errors="replace"))
        wanted: Format = "html" if query.get("format") == ["html"] else "text"
        async with Feed(conversation_id, wanted=wanted) as feed:
            self.feed = feed
            async for frame in feed.listen():
                await self.send(text_data=frame)

    async def _join_group(self, group: str) -> None:
        with contextlib.suppress(RedisError, OSError):
            await self.channel_layer.group_add(group, self.channel_name)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if text_data is None or len(text_data) > MAX_MESSAGE_BYTES:
            await self.close(TOO_LARGE)
            return
        try:
            resume = _decode(text_data)
        except (msgspec.DecodeError, RecursionError):
            await self.close(BAD_MESSAGE)
            return
        if self.feed is not None:
            self.feed.resume(resume.reply, at=resume.at)

    async def session_ended(self, event: dict[str, Any]) -> None:
        """One session of the user has ended, or all of them."""
        if event["session"] in ("", self.scope["session_digest"]):
            await self.close(SIGNED_OUT)

    async def disconnect(self, code: int) -> None:
        if self.sender is not None:
            self.sender.cancel()
            await asyncio.gather(self.sender, return_exceptions=True)
