"""A device that is sent rendering operations instead of characters, as our own page is."""

from typing import Any

import aiohttp

from conversations.rendering import apply_ops, render_blocks
from tests.faults.viewer import Viewer, Watched


class PageViewer(Viewer):
    """It cannot see by itself whether HTML was lost, only whether an operation begins where it is; like the page it then asks
    for a snapshot, once until that comes.
    """

    kind = "page"

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._asked: set[str] = set()
        super().__init__(session, url)

    def shows(self, reply: str, text: str) -> bool:
        return self.get(reply).blocks == render_blocks(text)

    async def _watch(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._asked.clear()  # what was asked on the old connection is forgotten
        await super()._watch(socket)

    async def _resume(self, reply: str) -> None:
        if reply not in self._asked:
            self._asked.add(reply)
            await super()._resume(reply)

    async def _take_delta(self, reply: str, watched: Watched, frame: dict[str, Any]) -> None:
        if frame["part"] == "reasoning":
            await super()._take_delta(reply, watched, frame)
        elif frame["at"] != watched.painted:
            await self._resume(reply)
        else:
            self._paint(reply, watched, frame["ops"])
            watched.painted = frame["length"]

    async def _take_snapshot(self, reply: str, watched: Watched, frame: dict[str, Any]) -> None:
        self._asked.discard(reply)
        if frame["lengths"]["text"] < watched.painted and watched.state:
            self.complaints.append(f"snapshot of {reply} takes text back after its end")
        watched.blocks, watched.painted = frame["html"], frame["lengths"]["text"]
        watched.reasoning = frame["parts"]["reasoning"]

    async def _take_finished(self, reply: str, watched: Watched, frame: dict[str, Any]) -> None:
        if frame["length"] == watched.length and not watched.state:
            self._paint(reply, watched, frame.get("ops", ()))
        await super()._take_finished(reply, watched, frame)

    def _paint(self, reply: str, watched: Watched, ops: Any) -> None:
        try:
            watched.blocks = apply_ops(watched.blocks, ops)
        except IndexError:
            self.complaints.append(f"an operation on {reply} names a block that the page does not have")
