"""A reply as it is now, read for a viewer: the row, or the stream where that is further, as frames."""

from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import ParamSpec, TypeVar
from uuid import UUID

from channels.db import database_sync_to_async
from django.db.models import Q
from django.db.models.functions import Now

from conversations.models import LIVE_STATES, Message
from conversations.rendering import render_blocks
from conversations.stream import frames, log

P = ParamSpec("P")
R = TypeVar("R")
# Channels' own choice is one thread for all sockets: 24 slow queries then take 24 times as long.
READERS = ThreadPoolExecutor(8, thread_name_prefix="reader")


@dataclass(frozen=True, slots=True)
class Lengths:
    """How many characters of each part somebody has."""

    text: int = 0
    reasoning: int = 0

    @property
    def total(self) -> int:
        return self.text + self.reasoning

    def get(self, part: str) -> int:
        return self.text if part == "text" else self.reasoning

    def move(self, part: str, length: int) -> "Lengths":
        return Lengths(length, self.reasoning) if part == "text" else Lengths(self.text, length)

    @classmethod
    def of(cls, message: Message) -> "Lengths":
        return cls(len(message.text), len(message.reasoning))


def in_reader(function: Callable[P, R]) -> Callable[P, Awaitable[R]]:
    """Run in a reader's thread; its database connection goes back to the pool afterwards."""
    decorated: Callable[P, Awaitable[R]] = database_sync_to_async(function, thread_sensitive=False, executor=READERS)
    return decorated


@in_reader
def list_recent_ids(conversation_id: UUID, silent_s: float) -> list[UUID]:
    """Replies that run, and those that have ended within the last `silent_s` seconds."""
    recent = Q(state__in=LIVE_STATES)
    if silent_s:
        recent |= Q(finished_at__gt=Now() - timedelta(seconds=silent_s))
    return list(Message.objects.filter(recent, conversation_id=conversation_id).values_list("id", flat=True))


@in_reader
def read(conversation_id: UUID, reply_id: UUID) -> Message | None:
    """The reply with the longest text known of it. The conversation is part of the question: access was checked for it."""
    message = Message.objects.filter(conversation_id=conversation_id, id=reply_id).first()
    if message is not None and message.is_live:
        live = log.read(reply_id)
        if live is not None and live.length > message.length:
            message.text, message.reasoning = live.text, live.reasoning
    return message


@in_reader
def build_frames(message: Message, known: Lengths | None, wanted: frames.Format) -> list[str]:
    """What takes a viewer from `known` to `message`: the missing characters, or a snapshot; and the end, if it has ended."""
    told = _build_missing(message, known) if wanted == "text" and known else [_build_snapshot(message, wanted)]
    return told if message.is_live else [*told, build_end(message).text_frame]


def _build_missing(message: Message, known: Lengths) -> list[str]:
    now = Lengths.of(message)
    if known.text > now.text or known.reasoning > now.reasoning:
        return [_build_snapshot(message, "text")]
    missing: dict[frames.Part, str] = {
        "reasoning": message.reasoning[known.reasoning :],
        "text": message.text[known.text :],
    }
    return [
        frames.build_delta(reply_id=str(message.id), part=part, at=known.get(part), text=rest, ops=()).text_frame
        for part, rest in missing.items()
        if rest
    ]


def _build_snapshot(message: Message, wanted: frames.Format) -> str:
    html = render_blocks(message.text, final=not message.is_live) if wanted == "html" else None
    return frames.build_snapshot(
        reply_id=message.id, state=message.state, text=message.text, reasoning=message.reasoning, html=html
    )


def build_end(message: Message, *, ops: list[object] | None = None) -> frames.Doorbell:
    """`reply.finished` from the row."""
    return frames.build_finished(
        reply_id=message.id,
        state=message.state,
        length=message.length,
        usage=message.usage,
        error=message.error,
        ops=ops or [],
    )
