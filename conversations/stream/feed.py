"""What one viewer of one conversation is sent: live frames, and what is missing whenever something was missed.

A viewer's whole state is how many characters it has of each live reply. A frame that continues there is forwarded, an older
one is dropped, and a gap is closed by reading the reply afresh. So nothing is sent twice and nothing is left out, whatever
the bus lost.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from uuid import UUID

from conversations.errors import ConversationNotFound
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
        self._read_at = 0.0
        self._ended: set[str] = set()
        self._is_heartbeat_due = False
        self._hub: Hub = get_hub()

    async def __aenter__(self) -> "Feed":
        try:
            await self._hub.join(self._conversation_id, self)
        except BaseException:
            await self._hub.leave(self._conversation_id, self)
            raise
        self._has_news.set()
        self._set_timer()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._timer.cancel()
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
        name = str(reply_id)
        self._known[name] = self._known.get(name, Lengths()).move("text", at)
        if name not in self._resumes:
            self._resumes.append(name)
        self._has_news.set()

    async def listen(self) -> AsyncIterator[str]:
        """JSON frames without end: first the live replies as they are, then what happens.

        Raises ConversationNotFound when the conversation is deleted.
        """
        while True:
            await self._has_news.wait()
            self._has_news.clear()
            for frame in await self._collect():
                yield frame

    def _set_timer(self) -> None:
        """One timer an interval, since one a frame would cost more than the frame."""
        self._interval_s = self._get_interval_s()
        self._timer = asyncio.get_running_loop().call_later(self._interval_s, self._ring_heartbeat)

    def _ring_heartbeat(self) -> None:
        self._is_heartbeat_due = True
        self._has_news.set()
        self._set_timer()

    def _adjust_timer(self) -> None:
        """A reply that starts, or a bus that goes away, cannot wait for the end of a long interval."""
        if self._get_interval_s() < self._interval_s:
            self._timer.cancel()
            self._set_timer()

    def _get_interval_s(self) -> float:
        if not self._known:
            return HEARTBEAT_IDLE_S
        return HEARTBEAT_RUNNING_S if self._hub.is_live else POLL_S

    async def _collect(self) -> list[str]:
        """Everything there is to tell, in order."""
        told: list[str] = []
        if self._is_stale:
            told += await self._tell_all()
        while self._resumes:
            told += await self._tell(self._resumes.popleft(), is_asked=True)
        while self._waiting:
            doorbell = self._waiting.popleft()
            if doorbell.kind == "deleted":
                raise ConversationNotFound
            told += self._pass_on(doorbell) if self._continues(doorbell) else await self._tell(doorbell.reply)
        if self._is_heartbeat_due:
            self._is_heartbeat_due = False
            told += await self._check()
        self._adjust_timer()
        return told

    async def _tell_all(self) -> list[str]:
        """What runs, what this viewer believes to run, and what began and ended while nobody could hear it."""
        self._is_stale = False
        seen_at, self._read_at = self._read_at, time.monotonic()
        silent_s = self._read_at - seen_at + 1 if seen_at else 0
        told: list[str] = []
        recent = map(str, await reading.list_recent_ids(self._conversation_id, silent_s))
        for reply_id in {*recent, *self._known} - self._ended:
            told += await self._tell(reply_id)
        return told

    async def _check(self) -> list[str]:
        """The heartbeat. A reply that was silent since the last one is read: its last frame may be lost, or the bus away."""
        told: list[str] = []
        for reply_id in [reply_id for reply_id in self._known if self._checked.get(reply_id) == self._known[reply_id]]:
            told += await self._tell(reply_id, only_news=True)
        self._checked = dict(self._known)
        lengths = {reply_id: known.total for reply_id, known in self._known.items()}
        return [*told, frames.build_heartbeat(replies=lengths, is_live=self._hub.is_live)]

    def _continues(self, doorbell: frames.Doorbell) -> bool:
        """Does this follow what the viewer has? If not, the reply is read afresh. What has ended never goes on."""
        if doorbell.reply in self._ended:
            return True
        known = self._known.get(doorbell.reply)
        if doorbell.kind == "delta":
            return doorbell.at == (known.get(doorbell.part) if known else 0) or self._is_old(doorbell)
        if doorbell.kind == "finished":
            return known is not None and known.total == doorbell.length
        return doorbell.kind != "resync"

    def _is_old(self, doorbell: frames.Doorbell) -> bool:
        known = self._known.get(doorbell.reply)
        return known is not None and doorbell.length <= known.get(doorbell.part)

    def _pass_on(self, doorbell: frames.Doorbell) -> list[str]:
        if doorbell.reply in self._ended:
            return []
        if doorbell.kind == "delta":
            if self._is_old(doorbell):
                return []
            self._known[doorbell.reply] = self._known.get(doorbell.reply, Lengths()).move(doorbell.part, doorbell.length)
        elif doorbell.kind == "finished":
            del self._known[doorbell.reply]
            self._ended.add(doorbell.reply)
        elif doorbell.kind == "started":
            self._known.setdefault(doorbell.reply, Lengths())
        return [doorbell.get_frame(self._wanted)]

    async def _tell(self, reply_id: str, *, only_news: bool = False, is_asked: bool = False) -> list[str]:
        """Bring the viewer to the reply as it is now. An ended reply is closed with `reply.finished`."""
        message = await reading.read(self._conversation_id, UUID(reply_id))
        known = self._known.pop(reply_id, None)
        if message is None:
            return []
        lengths = Lengths.of(message)
        if message.is_live and known and lengths.total < known.total and not is_asked:
            self._known[reply_id] = known  # the row is behind what was rung; text never goes back
            return []
        if message.is_live:
            self._known[reply_id] = lengths
        else:
            self._ended.add(reply_id)
        if only_news and message.is_live and known == lengths:
            return []
        return await reading.build_frames(message, known, self._wanted)
