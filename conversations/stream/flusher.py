"""The worker's side: one flusher per process appends the text of all its live replies, and one keeper writes checkpoints.

The first text of a reply goes out at once, then every 35 ms one pipeline carries what all dirty replies gained. The entry id
`{epoch}-{length}` is dedupe key, cursor and fence in one: the bus refuses a lower one, so a worker that was thought dead and
wakes up cannot write. When the bus is away text is kept here and in the checkpoints; when it returns, every live reply is
written whole and the viewers are told to read afresh.
"""

import asyncio
import logging
import math
from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.conf import settings
from redis.exceptions import RedisError

from conversations.stream import frames
from conversations.stream.live import FLUSH_S, Entry, LiveReply
from ops import bus

log = logging.getLogger(__name__)
LIVE_TTL_S = 3600
ENDED_TTL_S = 600
RETRY_S = 0.5
REFUSAL = "equal or smaller"  # what the bus says to an entry that is not newer than its last

Checkpoint = Callable[[list[LiveReply]], dict[UUID, bool]]


class Flusher:
    """Lives on the worker's event loop. `open` a reply, `append` to it, `drain` it, publish its end, `close` it."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self._replies: dict[UUID, LiveReply] = {}
        self._urgent = asyncio.Event()
        self._flushing = asyncio.Lock()
        self._is_bus_lost = False
        self._client = bus.open_async_client(single_connection_client=True, socket_timeout=2)
        self._tasks = [asyncio.create_task(job()) for job in (self._flush_forever, self._keep_forever, self._hear_cancels)]

    # What generation calls

    def open(self, reply: LiveReply) -> None:
        reply.task = asyncio.current_task()
        self._replies[reply.id] = reply
        self._urgent.set()

    def append(self, reply: LiveReply, part: frames.Part, chunk: str) -> None:
        is_first = reply.length == 0
        reply.append(part, chunk)
        if is_first:
            self._urgent.set()

    async def drain(self, reply: LiveReply) -> None:
        """Send what is left, without waiting for the tick. Returns also when the bus is away."""
        async with self._flushing:
            if not self._is_bus_lost:
                await self._flush([reply])

    async def publish_end(self, reply: LiveReply, doorbell: frames.Doorbell) -> None:
        """Announce the end through the same connection, so that it cannot overtake the text."""
        async with self._flushing:
            try:
                pipeline = self._client.pipeline(transaction=False)
                pipeline.publish(frames.get_channel(reply.conversation_id), doorbell.pack())
                pipeline.expire(frames.get_stream_key(reply.id), ENDED_TTL_S)
                await pipeline.execute()
            except (RedisError, OSError) as error:
                log.warning("end of reply %s not announced: %s", reply.id, error)

    def close(self, reply: LiveReply) -> None:
        self._replies.pop(reply.id, None)

    def cancel_all(self) -> None:
        for reply in list(self._replies.values()):
            reply.cancel()

    # The tick

    async def _flush_forever(self) -> None:
        while True:
            await self._wait_for_tick()
            async with self._flushing:
                if self._is_bus_lost:
                    await self._reseed()
                else:
                    await self._flush([reply for reply in self._replies.values() if self._is_due(reply)])
            if self._is_bus_lost:
                await asyncio.sleep(RETRY_S)

    async def _wait_for_tick(self) -> None:
        """35 ms while replies run, at once for a first text, and no end of rest when nothing runs."""
        try:
            await asyncio.wait_for(self._urgent.wait(), FLUSH_S if self._replies else None)
        except TimeoutError:
            return
        self._urgent.clear()

    def _is_due(self, reply: LiveReply) -> bool:
        return reply.is_dirty and reply.next_flush <= asyncio.get_running_loop().time()

    async def _flush(self, replies: list[LiveReply]) -> None:
        """One pipeline for all of them; the ones the bus refuses are looked at afterwards."""
        batch = [(reply, entry) for reply in replies for entry in self._take(reply)]
        if not batch:
            return
        pipeline = self._client.pipeline(transaction=False)
        for reply, entry in batch:
            self._add(pipeline, reply, entry)
        self._add_expiry(pipeline, {reply for reply, entry in batch if entry.total == len(entry.fields["d"])})
        try:
            answers = await pipeline.execute(raise_on_error=False)
            await self._look_at_answers([reply for reply, _ in batch], answers)
        except (RedisError, OSError) as error:
            self._lose_bus(error)

    def _take(self, reply: LiveReply) -> list[Entry]:
        """A text that breaks its renderer ends its own reply and no other."""
        try:
            return reply.take()
        except Exception:
            log.exception("reply %s cannot be rendered", reply.id)
            reply.next_flush = math.inf
            reply.cancel()
            return []

    def _add(self, pipeline: Any, reply: LiveReply, entry: Entry) -> None:
        pipeline.xadd(frames.get_stream_key(reply.id), entry.fields, id=f"{reply.epoch}-{entry.total}")
        pipeline.publish(frames.get_channel(reply.conversation_id), entry.doorbell.pack())

    def _add_expiry(self, pipeline: Any, begun: set[LiveReply]) -> None:
        """Once, with a reply's first entry: an hour outlives every reply, and a killed worker leaves nothing for ever."""
        for reply in begun:
            pipeline.expire(frames.get_stream_key(reply.id), LIVE_TTL_S)

    async def _look_at_answers(self, replies: list[LiveReply], answers: list[Any]) -> None:
        """Two answers an entry come first. A bus that cannot write (full, loading, replica) counts as lost."""
        errors = [answer for answer in answers if isinstance(answer, Exception)]
        if trouble := [error for error in errors if REFUSAL not in str(error)]:
            self._lose_bus(trouble[0])
        elif errors:
            appended = zip(replies, answers[: 2 * len(replies) : 2], strict=True)
            await self._look_at_refused({reply for reply, answer in appended if isinstance(answer, Exception)})

    async def _look_at_refused(self, refused: set[LiveReply]) -> None:
        """A refused entry was either written before, or belongs to a life of the reply that is over."""
        for reply in refused:
            last = await self._client.xrevrange(frames.get_stream_key(reply.id), count=1)
            if last and int(str(last[0][0]).partition("-")[0]) > reply.epoch:
                reply.is_fenced = True
                reply.cancel()

    # When the bus is away

    def _lose_bus(self, error: Exception) -> None:
        log.warning("bus lost, text goes on in checkpoints: %s", error)
        self._is_bus_lost = True

    async def _reseed(self) -> None:
        """Write every live reply whole; the bus may have come back empty, or with only its beginning."""
        try:
            for reply in list(self._replies.values()):
                self._take(reply)
                if reply.length:
                    await self._write_whole(reply)
        except (RedisError, OSError):
            return
        log.warning("bus is back, %d live replies written again", len(self._replies))
        self._is_bus_lost = False

    async def _write_whole(self, reply: LiveReply) -> None:
        key = frames.get_stream_key(reply.id)
        pipeline: Any = self._client.pipeline(transaction=False)
        pipeline.xadd(key, reply.build_full_entry(), id=f"{reply.epoch}-{reply.length}")
        pipeline.publish(frames.get_channel(reply.conversation_id), frames.build_resync(reply_id=str(reply.id)).pack())
        pipeline.expire(key, LIVE_TTL_S)
        for answer in await pipeline.execute(raise_on_error=False):
            if isinstance(answer, Exception) and REFUSAL not in str(answer):
                raise answer
            if isinstance(answer, Exception):
                await self._look_at_refused({reply})

    # Checkpoints, leases, cancels

    async def _keep_forever(self) -> None:
        """Every second: text to PostgreSQL, leases renewed, stop flags read. A reply that no longer answers is not ours."""
        while True:
            await asyncio.sleep(settings.REPLY_CHECKPOINT_S)
            replies = list(self._replies.values())
            if replies:
                answers = await asyncio.to_thread(self._try_checkpoint, replies)
                self._obey(replies if answers is not None else [], answers or {})

    def _try_checkpoint(self, replies: list[LiveReply]) -> dict[UUID, bool] | None:
        try:
            return self._checkpoint(replies)
        except Exception:
            log.exception("checkpoint of %d replies failed; the next one tries again", len(replies))
            return None

    def _obey(self, replies: list[LiveReply], answers: dict[UUID, bool]) -> None:
        for reply in replies:
            if reply.id not in self._replies:
                continue
            reply.is_fenced = reply.is_fenced or reply.id not in answers
            reply.is_stop_requested = reply.is_stop_requested or answers.get(reply.id, False)
            if reply.is_fenced or reply.is_stop_requested:
                reply.cancel()

    async def _hear_cancels(self) -> None:
        while True:
            client = bus.open_async_client(health_check_interval=10)
            try:
                async with client.pubsub() as pubsub:
                    await pubsub.subscribe(frames.CANCEL_CHANNEL)
                    async for message in pubsub.listen():
                        if message["type"] == "message":
                            self._stop(UUID(message["data"]))
            except (RedisError, OSError) as error:
                log.warning("cancels unheard, the rows are read instead: %s", error)
            finally:
                await client.aclose()
            await asyncio.sleep(RETRY_S)

    def _stop(self, reply_id: UUID) -> None:
        if reply := self._replies.get(reply_id):
            reply.is_stop_requested = True
            reply.cancel()
