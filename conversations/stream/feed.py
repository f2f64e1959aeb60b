"""What one viewer of one conversation is sent: live frames, and what is missing whenever something was missed.

A viewer's whole state is how many characters it has of each live reply. A frame that continues there is forwarded, an older
one is dropped, and a gap is closed by reading the reply afresh. So nothing is sent twice and nothing is left out, whatever
the bus lost.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from uuid import UUID

from conversations.stream import frames, reading
from conversations.stream.hub import Hub, get_hub
from conversations.stream.reading import Lengths

MAX_WAITING = 256
HEARTBEAT_RUNNING_S = 5.0
HEARTBEAT_IDLE_S = 20.0
POLL_S = 1.0


class Feed:
    """Use as `async with Feed(…) as feed: async for frame in feed.listen(): …`."""

    def __init__(self, conversation_id: UUID, *, wanted: frames.Format) -> None:
        self._conversation_id = conversation_id
        self._wanted: frames.Format = wanted
        self._known: dict[str, Lengths] = {}
        self._checked: dict[str, Lengths] = {}
        self._waiting: deque[frames.Doorbell] = deque()
        self._resumes: deque[str] = deque()
        self._has_news = asyncio.Event()
        self._is_stale = True
        self._hub: Hub = get_hub()

    async def __aenter__(self) -> "Feed":
        await self._hub.join(self._conversation_id, self)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._hub.leave(self._conversation_id, self)

    # The hub's side

    def hear(self, doorbell: frames.Doorbell) -> None:
        """A viewer that reads too slowly loses its queue and is told afresh; the others never wait for it."""
        if len(self._waiting) >= MAX_WAITING:
            self.mark_lost()
        else:
            self._waiting.append(doorbell)
            self._has_news.set()

    def mark_lost(self) -> None:
        self._waiting.clear()
        self._is_stale = True
        self._has_news.set()

    # The viewer's side

    def resume(self, reply_id: UUID, *, at: int) -> None:
        """The viewer has `at` characters of this reply's text and wants the rest."""
        self._known[str(reply_id)] = self._known.get(str(reply_id), Lengths()).move("text", at)
        self._resumes.append(str(reply_id))
        self._has_news.set()

    async def listen(self) -> AsyncIterator[str]:
        """JSON frames without end: first the live replies as they are, then what happens."""
        while True:
            async for frame in self._catch_up():
                yield frame
            if not await self._wait():
                async for frame in self._check():
                    yield frame

    async def _wait(self) -> bool:
        """Until there is news (True) or a heartbeat is due (False)."""
        try:
            await asyncio.wait_for(self._has_news.wait(), self._get_patience_s())
        except TimeoutError:
            return False
        self._has_news.clear()
        return True

    def _get_patience_s(self) -> float:
        if not self._known:
            return HEARTBEAT_IDLE_S
        return HEARTBEAT_RUNNING_S if self._hub.is_live else POLL_S

    async def _catch_up(self) -> AsyncIterator[str]:
        if self._is_stale:
            self._is_stale = False
            running = await reading.list_live_ids(self._conversation_id)
            for reply_id in {*map(str, running), *self._known}:
                for frame in await self._tell(reply_id):
                    yield frame
        while self._resumes:
            for frame in await self._tell(self._resumes.popleft()):
                yield frame
        while self._waiting:
            for frame in await self._pass_on(self._waiting.popleft()):
                yield frame

    async def _check(self) -> AsyncIterator[str]:
        """The heartbeat. A reply that was silent since the last one is read: its last frame may be lost, or the bus away."""
        for reply_id in [reply_id for reply_id in self._known if self._checked.get(reply_id) == self._known[reply_id]]:
            for frame in await self._tell(reply_id, only_news=True):
                yield frame
        self._checked = dict(self._known)
        lengths = {reply_id: known.total for reply_id, known in self._known.items()}
        yield frames.build_heartbeat(replies=lengths, is_live=self._hub.is_live)

    async def _pass_on(self, doorbell: frames.Doorbell) -> list[str]:
        if doorbell.kind == "delta":
            return await self._pass_on_delta(doorbell)
        if doorbell.kind == "finished":
            return await self._pass_on_end(doorbell)
        if doorbell.kind == "resync":
            return await self._tell(doorbell.reply)
        if doorbell.kind == "started":
            self._known.setdefault(doorbell.reply, Lengths())
        return [doorbell.get_frame(self._wanted)]

    async def _pass_on_delta(self, doorbell: frames.Doorbell) -> list[str]:
        known = self._known.get(doorbell.reply, Lengths())
        has = known.get(doorbell.part)
        if doorbell.at == has:
            self._known[doorbell.reply] = known.move(doorbell.part, doorbell.length)
            return [doorbell.get_frame(self._wanted)]
        return [] if doorbell.length <= has else await self._tell(doorbell.reply)

    async def _pass_on_end(self, doorbell: frames.Doorbell) -> list[str]:
        """Only a viewer that has all the text is told the end as it was rung; the others are told all of it."""
        known = self._known.get(doorbell.reply)
        if known is None or known.total != doorbell.length:
            return await self._tell(doorbell.reply)
        del self._known[doorbell.reply]
        return [doorbell.get_frame(self._wanted)]

    async def _tell(self, reply_id: str, *, only_news: bool = False) -> list[str]:
        """Bring the viewer to the reply as it is now. An ended reply is closed with `reply.finished`."""
        message = await reading.read(self._conversation_id, UUID(reply_id))
        known = self._known.pop(reply_id, None)
        if message is None:
            return []
        lengths = Lengths.of(message)
        if message.is_live:
            self._known[reply_id] = lengths
        if only_news and message.is_live and known == lengths:
            return []
        return await reading.build_frames(message, known, self._wanted)
