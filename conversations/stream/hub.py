"""The web side's ear: one subscription per process hears the doorbells of every conversation somebody looks at."""

import asyncio
import logging
from collections import defaultdict
from functools import cache
from typing import Protocol
from uuid import UUID

from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from conversations.stream import frames
from ops import bus

log = logging.getLogger(__name__)
CONTROL_CHANNEL = "chatbox:hub"  # always subscribed: a subscription to nothing would make `get_message` return at once
RETRY_S = 0.5


class Listener(Protocol):
    def hear(self, doorbell: frames.Doorbell) -> None: ...
    def mark_lost(self) -> None: ...


class Hub:
    """Fans doorbells out to the listeners of their conversation. After a lost connection every listener is told so."""

    def __init__(self) -> None:
        self.is_live = False
        self._listeners: dict[str, set[Listener]] = defaultdict(set)
        self._acknowledged: dict[str, asyncio.Event] = {}
        self._pubsub: PubSub | None = None
        self._task = asyncio.create_task(self._hear_forever())

    async def join(self, conversation_id: UUID, listener: Listener) -> None:
        """Returns when the bus has confirmed the subscription, or at once when it is away."""
        channel = frames.get_channel(conversation_id)
        self._listeners[channel].add(listener)
        if channel not in self._acknowledged:
            self._acknowledged[channel] = asyncio.Event()
            # Shielded: a viewer who leaves at this moment must not cut a command of the line all viewers share.
            await asyncio.shield(self._send("subscribe", channel))
        if self.is_live:
            await self._wait_for(channel)

    async def leave(self, conversation_id: UUID, listener: Listener) -> None:
        channel = frames.get_channel(conversation_id)
        self._listeners[channel].discard(listener)
        if not self._listeners[channel]:
            del self._listeners[channel]
            self._acknowledged.pop(channel, None)
            await asyncio.shield(self._send("unsubscribe", channel))

    async def _wait_for(self, channel: str) -> None:
        try:
            async with asyncio.timeout(2):
                await self._acknowledged[channel].wait()
        except TimeoutError:
            log.warning("subscription unconfirmed; the heartbeat will notice what is missed")

    async def _send(self, command: str, channel: str) -> None:
        """A failure here is seen by the hearing side too, which subscribes everything afresh."""
        if self._pubsub is None:
            return
        try:
            await getattr(self._pubsub, command)(channel)
        except (RedisError, OSError) as error:
            log.warning("%s failed: %s", command, error)

    async def _hear_forever(self) -> None:
        while True:
            client = bus.open_async_client(health_check_interval=10)
            try:
                async with client.pubsub() as pubsub:
                    await self._hear(pubsub)
            except (RedisError, OSError) as error:
                log.warning("bus lost, viewers read checkpoints: %s", error)
            except Exception:
                log.exception("a doorbell could not be understood")
            finally:
                self._lose()
                await client.aclose()
            await asyncio.sleep(RETRY_S)

    async def _hear(self, pubsub: PubSub) -> None:
        """Who joined before the line was there is subscribed here; who joins afterwards subscribes by itself."""
        await pubsub.subscribe(CONTROL_CHANNEL)
        self._pubsub, self.is_live = pubsub, True
        if self._listeners:
            await pubsub.subscribe(*self._listeners)
        self._mark_all_lost()  # what was rung while nobody heard
        while True:
            message = await pubsub.get_message(timeout=10)
            if message is None:
                continue
            if message["type"] == "message":
                self._dispatch(message["channel"], message["data"])
            elif message["type"] == "subscribe" and message["channel"] in self._acknowledged:
                self._acknowledged[message["channel"]].set()

    def _dispatch(self, channel: str, data: str) -> None:
        doorbell = frames.Doorbell.unpack(data)
        for listener in tuple(self._listeners.get(channel, ())):
            listener.hear(doorbell)

    def _lose(self) -> None:
        was_live, self._pubsub, self.is_live = self.is_live, None, False
        for acknowledged in self._acknowledged.values():
            acknowledged.clear()
        if was_live:  # once: at every failed return it would be all text to all viewers, twice a second
            self._mark_all_lost()

    def _mark_all_lost(self) -> None:
        for listeners in self._listeners.values():
            for listener in listeners:
                listener.mark_lost()


@cache
def _get_hub(_loop: asyncio.AbstractEventLoop) -> Hub:
    return Hub()


def get_hub() -> Hub:
    """The hub of the running loop."""
    return _get_hub(asyncio.get_running_loop())
