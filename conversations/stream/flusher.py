"""The worker's side of live text: one flusher per process appends what all its live replies gained.

The first text of a reply goes out at once, then every 35 ms one pipeline carries what all dirty replies gained. Between two of
these beats a reply's reader rests, so that it takes what has come meanwhile in one piece. The entry id
`{epoch}-{length}` is dedupe key, cursor and fence in one: the bus refuses a lower one, so a worker that was thought dead and
wakes up cannot write. When the bus is away text is kept here and in the checkpoints; when it returns, every live reply is
written whole and the viewers are told to read afresh.
"""

import asyncio
import logging
import math
from collections.abc import Iterator
from typing import Any
from uuid import UUID

from hiredis import ReplyError
from redis.exceptions import RedisError, ResponseError

from conversations.stream import frames
from conversations.stream.live import FLUSH_S, Entry, LiveReply
from ops.line import Command, Line

log = logging.getLogger(__name__)
LIVE_TTL_S = 3600
ENDED_TTL_S = 600
RETRY_S = 0.5
PART = 16  # replies that are rendered in one go: 2 ms
REFUSAL = "equal or smaller"  # what the bus says to an entry that is not newer than its last


class Flusher:
    """Lives on the worker's event loop. `open` a reply, `append` to it, `drain` it, publish its end, `close` it."""

    def __init__(self) -> None:
        self.replies: dict[UUID, LiveReply] = {}
        self._urgent = asyncio.Event()
        self._resting: list[asyncio.Future[None]] = []
        self._beat_at = 0.0
        self._flushing = asyncio.Lock()
        self._is_bus_lost = False
        self._line = Line()
        self._task = asyncio.create_task(self._flush_forever())

    def open(self, reply: LiveReply) -> None:
        reply.task = asyncio.current_task()
        self.replies[reply.id] = reply
        self._urgent.set()

    def append(self, reply: LiveReply, part: frames.Part, chunk: str) -> None:
        is_first = reply.length == 0
        reply.append(part, chunk)
        if is_first:
            self._urgent.set()

    async def rest(self) -> None:
        """Wait for the next beat. Text that arrives meanwhile could not be sent any sooner."""
        if self._is_bus_lost:  # its beats are slow, and checkpoints go on
            await asyncio.sleep(FLUSH_S)
            return
        waiting = asyncio.get_running_loop().create_future()
        self._resting.append(waiting)
        await waiting

    async def drain(self, reply: LiveReply) -> None:
        """Send what is left, without waiting for the tick. Returns also when the bus is away."""
        async with self._flushing:
            if not self._is_bus_lost:
                await self._flush([reply])

    async def publish_end(self, reply: LiveReply, doorbell: frames.Doorbell) -> None:
        """Announce the end through the same connection, so that it cannot overtake the text. With the bus away, rows say it."""
        async with self._flushing:
            if self._is_bus_lost:
                return
            try:
                await self._line.ask([build_ring(reply, doorbell), ("EXPIRE", frames.get_stream_key(reply.id), ENDED_TTL_S)])
            except RedisError as error:
                log.warning("end of reply %s not announced: %s", reply.id, error)

    def close(self, reply: LiveReply) -> None:
        self.replies.pop(reply.id, None)

    # The tick

    async def _flush_forever(self) -> None:
        while True:
            is_beat = await self._wait_for_beat()
            if is_beat:
                self._wake_readers()
                await asyncio.sleep(0)  # they are ahead of us in the loop's queue: what has arrived is part of this flush
            try:
                await self._tick()
            except Exception as error:
                log.exception("a flush failed; the next one tries again")
                self._lose_bus(error)
            if self._is_bus_lost:
                await asyncio.sleep(RETRY_S)
            if is_beat:
                self._beat_at = asyncio.get_running_loop().time() + FLUSH_S

    async def _wait_for_beat(self) -> bool:
        """35 ms behind the last one while replies run, no end of rest when nothing runs. False: a first text cannot wait."""
        now = asyncio.get_running_loop().time()
        try:
            await asyncio.wait_for(self._urgent.wait(), max(0.0, self._beat_at - now) if self.replies else None)
        except TimeoutError:
            return True
        self._urgent.clear()
        return False

    def _wake_readers(self) -> None:
        resting, self._resting = self._resting, []
        for waiting in resting:
            if not waiting.done():
                waiting.set_result(None)

    async def _tick(self) -> None:
        async with self._flushing:
            if self._is_bus_lost:
                await self._reseed()
            else:
                await self._flush([reply for reply in self.replies.values() if self._is_due(reply)])

    def _is_due(self, reply: LiveReply) -> bool:
        return reply.is_dirty and reply.next_flush <= asyncio.get_running_loop().time()

    async def _flush(self, replies: list[LiveReply]) -> None:
        """One pipeline for all of them; what the bus did not take as it should is looked at afterwards."""
        batch: list[LiveReply] = []
        try:
            answers = await self._line.ask_in_parts(self._append_in_parts(replies, batch))
            await self._look_at_answers(batch, answers)
        except RedisError as error:
            self._lose_bus(error)

    def _append_in_parts(self, replies: list[LiveReply], batch: list[LiveReply]) -> Iterator[list[Command]]:
        """Web servers have the first few already while the next are rendered. `batch` takes the replies that are in it."""
        for begin in range(0, len(replies), PART):
            entries = [(reply, entry) for reply in replies[begin : begin + PART] for entry in self._take(reply)]
            batch += [reply for reply, _ in entries]
            if entries:
                yield [command for reply, entry in entries for command in build_append(reply, entry)]

    def _take(self, reply: LiveReply) -> list[Entry]:
        """A text that breaks its renderer ends its own reply and no other."""
        try:
            return reply.take()
        except Exception:
            log.exception("reply %s cannot be rendered", reply.id)
            reply.is_unrenderable, reply.next_flush = True, math.inf
            reply.cancel()
            return []

    async def _look_at_answers(self, replies: list[LiveReply], answers: list[Any]) -> None:
        """A bus that cannot write (full, loading, replica) counts as lost. One that forgot a stream gets it whole."""
        refusals = [answer for answer in answers if isinstance(answer, ReplyError)]
        if trouble := [error for error in refusals if REFUSAL not in str(error)]:
            self._lose_bus(trouble[0])
            return
        for reply in set(replies) if refusals else ():
            await self._check_fence(reply)
        for reply in set(replies) if None in answers else ():
            if not reply.is_stop_requested:
                await self._write_whole(reply)

    async def _check_fence(self, reply: LiveReply) -> None:
        """A refused entry was either written before, or belongs to a life of the reply that is over."""
        (last,) = await self._line.ask([("XREVRANGE", frames.get_stream_key(reply.id), "+", "-", "COUNT", 1)])
        if last and int(last[0][0].partition("-")[0]) > reply.epoch:
            reply.is_fenced = True
            reply.cancel()

    # When the bus is away

    def _lose_bus(self, reason: object) -> None:
        log.warning("bus lost, text goes on in checkpoints: %s", reason)
        self._is_bus_lost = True
        self._wake_readers()

    async def _reseed(self) -> None:
        """Write every live reply whole; the bus may have come back empty, or with only its beginning."""
        try:
            for reply in list(self.replies.values()):
                self._take(reply)
                if reply.length:
                    await self._write_whole(reply)
        except RedisError:
            return
        log.warning("bus is back, %d live replies written again", len(self.replies))
        self._is_bus_lost = False

    async def _write_whole(self, reply: LiveReply) -> None:
        resync = frames.build_resync(reply_id=str(reply.id))
        commands = [
            build_entry(reply, reply.build_full_entry(), reply.flushed_length),
            build_ring(reply, resync),
            build_expiry(reply),
        ]
        for answer in await self._line.ask(commands):
            if isinstance(answer, ReplyError) and REFUSAL not in str(answer):
                raise ResponseError(str(answer))
            if isinstance(answer, ReplyError):
                await self._check_fence(reply)


def build_append(reply: LiveReply, entry: Entry) -> list[Command]:
    """The first entry makes the stream, which outlives every reply by far; the others only lengthen it."""
    ring = build_ring(reply, entry.doorbell)
    if entry.is_first:
        return [build_entry(reply, entry.fields, entry.total), ring, build_expiry(reply)]
    return [build_entry(reply, entry.fields, entry.total, "NOMKSTREAM"), ring]


def build_entry(reply: LiveReply, fields: dict[str, str], total: int, *options: str) -> Command:
    flat = [word for pair in fields.items() for word in pair]
    return ("XADD", frames.get_stream_key(reply.id), *options, f"{reply.epoch}-{total}", *flat)


def build_ring(reply: LiveReply, doorbell: frames.Doorbell) -> Command:
    return ("PUBLISH", frames.get_channel(reply.conversation_id), doorbell.pack())


def build_expiry(reply: LiveReply) -> Command:
    return ("EXPIRE", frames.get_stream_key(reply.id), LIVE_TTL_S)
