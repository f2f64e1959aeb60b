"""A device that watches a conversation: it reconnects by itself, and checks every frame against what it has."""

import asyncio
import json
import random
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.faults.promises import until

RETRY_MOST_S = 1.0
TIMEOUT = aiohttp.ClientWSTimeout(ws_close=1)


@dataclass
class Watched:
    """What the device has of one reply: its text or, on a page, `blocks` of HTML for so many `painted` characters of it.

    `state` is empty until its end.
    """

    text: str = ""
    reasoning: str = ""
    blocks: list[str] = field(default_factory=list)
    painted: int = 0
    state: str = ""
    error: str = ""
    ended_at: float = 0.0
    told_at: float = 0.0

    @property
    def at(self) -> int:
        return self.painted or len(self.text)

    @property
    def length(self) -> int:
        return self.at + len(self.reasoning)


class Viewer:
    """`replies`: id → what it has. `complaints`: frames that break the protocol. `is_live`: what the heartbeat said.

    `close_codes`: of every connection that has ended; None for one that broke.
    """

    kind = "device"

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.replies: dict[str, Watched] = {}
        self.complaints: list[str] = []
        self.close_codes: list[int | None] = []
        self.connections = 0
        self.resumes = 0
        self.is_live = True
        self._session = session
        self._url = url
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._ended: set[str] = set()
        self._resumed: set[str] = set()
        self._task = asyncio.create_task(self._watch_forever())

    @property
    def is_connected(self) -> bool:
        return self._socket is not None

    async def wait_connected(self, timeout_s: float = 10) -> None:
        await until(lambda: self.is_connected, timeout_s, "a connected socket")

    async def wait_length(self, reply: str, length: int, timeout_s: float = 20) -> None:
        await until(lambda: self.get(reply).length >= length or self.get(reply).state, timeout_s, f"{length} characters")

    async def wait_end(self, reply: str, timeout_s: float = 40) -> str:
        await until(lambda: self.get(reply).state, timeout_s, f"the end of a reply of {self.get(reply).length} characters")
        return self.get(reply).state

    def get(self, reply: str) -> Watched:
        return self.replies.setdefault(reply, Watched())

    def shows(self, reply: str, text: str) -> bool:
        """Whether this is what a person reads there, byte for byte."""
        return self.get(reply).text == text

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def drop(self) -> None:
        """Lose the connection without a word."""
        if self._socket is not None and self._socket._writer.transport is not None:
            self._socket._writer.transport.abort()

    def stall(self) -> None:
        """Read nothing more, and leave the connection open."""
        if self._socket is not None and self._socket._writer.transport is not None:
            self._socket._writer.transport.pause_reading()

    def go_on(self) -> None:
        if self._socket is not None and self._socket._writer.transport is not None:
            self._socket._writer.transport.resume_reading()

    async def ask_again(self, reply: str) -> None:
        """Forget a reply's text and ask for all of it, as a page does that has lost it."""
        if self._socket is not None:
            self._resumed.add(reply)
            await self._socket.send_json({"type": "resume", "reply": reply, "at": 0})

    async def _watch_forever(self) -> None:
        while True:
            with suppress(aiohttp.ClientError, OSError, TimeoutError):
                async with self._session.ws_connect(
                    self._url, max_msg_size=0, timeout=aiohttp.ClientWSTimeout(ws_close=1)
                ) as socket:
                    await self._watch(socket)
                    self.close_codes.append(socket.close_code)
            self._socket = None
            await asyncio.sleep(random.uniform(0.1, RETRY_MOST_S))

    async def _watch(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket, self._ended, self._resumed = socket, set(), set()
        self.connections += 1
        for reply, watched in self.replies.items():
            if not watched.state:
                await self._resume(reply)
        async for message in socket:
            if message.type is aiohttp.WSMsgType.TEXT:
                await self._take(json.loads(message.data))

    async def _resume(self, reply: str) -> None:
        self.resumes += 1
        self._resumed.add(reply)
        if self._socket is not None:
            await self._socket.send_json({"type": "resume", "reply": reply, "at": self.get(reply).at})

    async def _take(self, frame: dict[str, Any]) -> None:
        kind = frame["type"]
        if kind == "heartbeat":
            await self._take_heartbeat(frame)
        elif kind.startswith("reply."):
            reply = frame["reply"]
            if reply in self._ended - self._resumed:
                self.complaints.append(f"{kind} of {reply} after its end")
            self.get(reply).told_at = time.monotonic()
            await getattr(self, "_take_" + kind.removeprefix("reply."))(reply, self.get(reply), frame)

    async def _take_started(self, reply: str, watched: Watched, frame: dict[str, Any]) -> None:
        """`get` has made it known."""

    async def _take_delta(self, reply: str, watched: Watched, frame: dict[str, Any]) -> None:
        has: str = getattr(watched, frame["part"])
        at, text = frame["at"], frame["text"]
        if at > len(has):
            await self._resume(reply)
            return
        known = has[at : at + len(text)]
        if not text.startswith(known):
            self.complaints.append(f"delta of {reply} at {at} changes what was said: {known[:40]!r} → {text[:40]!r}")
        setattr(watched, frame["part"], has[:at] + text if at + len(text) > len(has) else has)

    async def _take_snapshot(self, reply: str, watched: Watched, frame: dict[str, Any]) -> None:
        for part in ("text", "reasoning"):
            has, now = getattr(watched, part), frame["parts"][part]
            if not (now.startswith(has) or has.startswith(now)):
                self.complaints.append(f"snapshot of {reply} changes what was said")
            if len(now) != frame["lengths"][part]:
                self.complaints.append(f"snapshot of {reply} miscounts")
            setattr(watched, part, now)

    async def _take_finished(self, reply: str, watched: Watched, frame: dict[str, Any]) -> None:
        if frame["length"] != watched.length:
            await self._resume(reply)
            return
        if watched.state not in ("", frame["state"]):
            self.complaints.append(f"{reply} ended as {watched.state} and as {frame['state']}")
        watched.state, watched.ended_at = frame["state"], time.monotonic()
        watched.error = (frame["error"] or {}).get("code", "")
        self._ended.add(reply)

    async def _take_heartbeat(self, frame: dict[str, Any]) -> None:
        self.is_live = frame["live"]
        for reply, watched in self.replies.items():
            if not watched.state and frame["replies"].get(reply, -1) != watched.length:
                await self._resume(reply)
