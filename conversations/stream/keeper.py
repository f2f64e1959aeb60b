"""The worker's watch over its live replies: text to PostgreSQL and leases renewed every second, and stops obeyed.

A reply whose lease turns out to be lost is cancelled and writes nothing more.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

from django.conf import settings
from redis.exceptions import RedisError

from conversations.stream import frames
from conversations.stream.live import LiveReply
from ops import bus

log = logging.getLogger(__name__)
RETRY_S = 0.5
REMEMBERED_STOPS = 1000

# Replies → id → whether its stop was asked for. An id that is missing has lost its lease.
Checkpoint = Callable[[list[LiveReply]], dict[UUID, bool]]


class Keeper:
    """Lives on the worker's event loop beside the flusher, whose `replies` it watches."""

    def __init__(self, replies: dict[UUID, LiveReply], checkpoint: Checkpoint) -> None:
        self._replies = replies
        self._checkpoint = checkpoint
        self._early_stops: deque[str] = deque(maxlen=REMEMBERED_STOPS)
        # A thread of its own: in the loop's default pool a provider's slow DNS would make leases run out.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="keeper")
        self._tasks = [asyncio.create_task(self._keep_forever()), asyncio.create_task(self._hear_forever())]

    def is_stopped_early(self, reply: LiveReply) -> bool:
        """Was it stopped between its claim and now?"""
        return str(reply.id) in self._early_stops

    def cancel_all(self) -> None:
        for reply in list(self._replies.values()):
            reply.cancel()

    async def _keep_forever(self) -> None:
        while True:
            await asyncio.sleep(settings.REPLY_CHECKPOINT_S)
            try:
                await self._keep(list(self._replies.values()))
            except Exception:
                log.exception("checkpoint failed; the next one tries again")

    async def _keep(self, replies: list[LiveReply]) -> None:
        if not replies:
            return
        answers = await asyncio.get_running_loop().run_in_executor(self._thread, self._checkpoint, replies)
        for reply in replies:
            self._obey(reply, answers)

    def _obey(self, reply: LiveReply, answers: dict[UUID, bool]) -> None:
        """Only of a reply that is still open: one that has just ended is missing rightly."""
        if reply.id not in self._replies:
            return
        reply.is_fenced = reply.is_fenced or reply.id not in answers
        reply.is_stop_requested = reply.is_stop_requested or answers.get(reply.id, False)
        if reply.is_fenced or reply.is_stop_requested:
            reply.cancel()

    async def _hear_forever(self) -> None:
        while True:
            client = bus.open_async_client(health_check_interval=10)
            try:
                async with client.pubsub() as pubsub:
                    await pubsub.subscribe(frames.CANCEL_CHANNEL)
                    async for message in pubsub.listen():
                        if message["type"] == "message":
                            self._stop(message["data"])
            except (RedisError, OSError) as error:
                log.warning("cancels unheard, the rows are read instead: %s", error)
            except Exception:
                log.exception("a cancel could not be understood")
            finally:
                await client.aclose()
            await asyncio.sleep(RETRY_S)

    def _stop(self, reply_id: str) -> None:
        reply = self._replies.get(UUID(reply_id))
        if reply is None:
            self._early_stops.append(reply_id)
        else:
            reply.is_stop_requested = True
            reply.cancel()
