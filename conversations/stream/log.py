"""Reading a reply's stream, and the few things a synchronous caller may say on the bus. No call here raises for a lost bus."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast
from uuid import UUID

from redis.exceptions import RedisError

from conversations.stream import frames
from ops import bus

log = logging.getLogger(__name__)
Entries = Iterable[tuple[str, dict[str, str]]]


@dataclass(frozen=True, slots=True)
class LiveText:
    """What the stream holds of a reply."""

    text: str = ""
    reasoning: str = ""

    @property
    def length(self) -> int:
        return len(self.text) + len(self.reasoning)


def fold(entries: Entries) -> LiveText | None:
    """Join a stream's entries; None when its beginning is missing.

    An entry is `{p: part, a: characters before, d: text}`, or `{t: text, r: reasoning}` for everything so far, written anew
    after the bus was lost.
    """
    parts: dict[str, list[str]] = {"text": [], "reasoning": []}
    lengths = {"text": 0, "reasoning": 0}
    for _, entry in entries:
        if "fence" in entry:
            continue
        if "t" in entry:
            parts = {"text": [entry["t"]], "reasoning": [entry["r"]]}
            lengths = {"text": len(entry["t"]), "reasoning": len(entry["r"])}
            continue
        part = entry["p"]
        if int(entry["a"]) != lengths[part]:
            return None
        parts[part].append(entry["d"])
        lengths[part] += len(entry["d"])
    return LiveText("".join(parts["text"]), "".join(parts["reasoning"]))


def read(reply_id: UUID) -> LiveText | None:
    """The text so far, or None: nothing there, its beginning lost, or the bus away."""
    try:
        entries = bus.get_client().xrange(frames.get_stream_key(reply_id))
    except RedisError as error:
        log.warning("live text unreadable: %s", error)
        return None
    return fold(cast(Entries, entries)) if entries else None


def fence(reply_id: UUID, *, epoch: int) -> None:
    """Make the bus refuse everything of the reply's lives before `epoch`."""
    try:
        bus.get_client().xadd(frames.get_stream_key(reply_id), {"fence": "1"}, id=f"{epoch}-0", nomkstream=True)
    except RedisError as error:
        log.warning("reply not fenced on the bus, its row is: %s", error)


def publish(conversation_id: UUID, doorbell: frames.Doorbell) -> None:
    """Ring a conversation's doorbell. A lost one is noticed by the viewers' heartbeat."""
    try:
        bus.get_client().publish(frames.get_channel(conversation_id), doorbell.pack())
    except RedisError as error:
        log.warning("doorbell not rung: %s", error)


def forget(conversation_id: UUID, reply_ids: list[UUID]) -> None:
    """The conversation is deleted: stop what runs, take its text off the bus, and send its viewers away."""
    try:
        pipeline = bus.get_client().pipeline(transaction=False)
        for reply_id in reply_ids:
            pipeline.publish(frames.CANCEL_CHANNEL, str(reply_id))
            pipeline.unlink(frames.get_stream_key(reply_id))
        pipeline.publish(frames.get_channel(conversation_id), frames.build_deleted().pack())
        pipeline.execute()
    except RedisError as error:
        log.warning("deleted conversation left on the bus until it expires: %s", error)


def publish_cancel(reply_id: UUID) -> None:
    """Tell whichever worker runs this reply to stop. With the bus away it reads the row's flag within a second."""
    try:
        bus.get_client().publish(frames.CANCEL_CHANNEL, str(reply_id))
    except RedisError as error:
        log.warning("cancel not published: %s", error)
