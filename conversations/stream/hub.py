"""The web side's ear: one subscription per process hears the doorbells of every conversation somebody looks at."""

import asyncio
import logging
import time
from collections import defaultdict
from functools import cache
from typing import Any, Protocol
from uuid import UUID

from redis.exceptions import RedisError

from conversations.stream import frames
from ops.line import Line

log = logging.getLogger(__name__)
RETRY_S = 0.5
# A line that says nothing is asked whether it is still there, and given up when it does not answer.
CHECK_S, ASK_AFTER_S, GIVE_UP_AFTER_S = 2.0, 3.0, 8.0
SAY_TIMEOUT_S = 2.0


class Listener(Protocol):
    def hear(self, doorbell: frames.Doorbell) -> None: ...
    def mark_lost(self) -> None: ...


class Hub:
    """Fans doorbells out to the listeners of their conversation. After a lost connection every listener is told so."""

    def __init__(self) -> None:
        self.is_live = False
        self._listeners: dict[str, set[Listener]] = defaultdict(set)
        self._acknowledged: dict[str, asyncio.Event] = {}
        self._line = Line()
        self._heard_at = 0.0
        self._tasks = [asyncio.create_task(self._hear_forever()), asyncio.create_task(self._check_forever())]

    async def join(self, conversation_id: UUID, listener: Listener) -> None:
        """Returns when the bus has confirmed the subscription, or at once when it is away."""
        channel = frames.get_channel(conversation_id)
        self._listeners[channel].add(listener)
        if channel not in self._acknowledged:
            self._acknowledged[channel] = asyncio.Event()
            # Shielded: a viewer who leaves at this moment must not cut a command of the line all viewers share.
            await asyncio.shield(self._say("SUBSCRIBE", channel))
        if self.is_live:
            await self._wait_for(channel)

    async def leave(self, conversation_id: UUID, listener: Listener) -> None:
        channel = frames.get_channel(conversation_id)
        self._listeners[channel].discard(listener)
        if not self._listeners[channel]:
            del self._listeners[channel]
            self._acknowledged.pop(channel, None)
            await asyncio.shield(self._say("UNSUBSCRIBE", channel))

    async def _wait_for(self, channel: str) -> None:
        try:
            async with asyncio.timeout(2):
                await self._acknowledged[channel].wait()
        except TimeoutError:
            log.warning("subscription unconfirmed; the heartbeat will notice what is missed")

    async def _say(self, *command: str) -> None:
        """A failure here is seen by the hearing side too, which opens the line and subscribes everything afresh."""
        if not (self.is_live and self._line.is_open):
            return
        try:
            async with asyncio.timeout(SAY_TIMEOUT_S):
                await self._line.send([command])
        except (RedisError, TimeoutError) as error:
            log.warning("%s failed: %r", command[0], error)
            self._line.close()

    async def _hear_forever(self) -> None:
        while True:
            try:
                await self._hear()
            except RedisError as error:
                log.warning("bus lost, viewers read checkpoints: %s", error)
            except Exception:
                log.exception("a doorbell could not be understood")
            finally:
                self._line.close()
                self._lose()
            await asyncio.sleep(RETRY_S)

    async def _hear(self) -> None:
        """Who joined before the line was there is subscribed here; who joins afterwards subscribes by itself."""
        await self._line.open()
        self.is_live, self._heard_at = True, time.monotonic()
        await self._line.send([("PING",), *(("SUBSCRIBE", channel) for channel in self._listeners)])
        self._mark_all_lost()  # what was rung while nobody heard
        while True:
            for message in await self._line.hear():
                self._take(message)
            self._heard_at = time.monotonic()

    async def _check_forever(self) -> None:
        while True:
            await asyncio.sleep(CHECK_S)
            silent_s = time.monotonic() - self._heard_at
            if self.is_live and silent_s > GIVE_UP_AFTER_S:
                self._line.close()
            elif self.is_live and silent_s > ASK_AFTER_S:
                await self._say("PING")

    def _take(self, message: Any) -> None:
        """`[kind, channel, data]`, or the answer to a PING."""
        match message:
            case ["message", channel, data]:
                self._dispatch(channel, data)
            case ["subscribe", channel, _] if channel in self._acknowledged:
                self._acknowledged[channel].set()

    def _dispatch(self, channel: str, data: str) -> None:
        doorbell = frames.Doorbell.unpack(data)
        if doorbell is None:
            return
        for listener in tuple(self._listeners.get(channel, ())):
            listener.hear(doorbell)

    def _lose(self) -> None:
        was_live, self.is_live = self.is_live, False
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
