"""The page among the devices sees what it should, and would notice if it did not."""

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp
from aiohttp import web

from conversations.rendering import render_blocks
from tests.faults.page import PageViewer
from tests.faults.promises import until

Frames = list[dict[str, Any]]
TEXT = "One **two** three."


def build_delta(at: int, length: int, html: str) -> dict[str, Any]:
    return {"type": "reply.delta", "reply": "r", "part": "text", "at": at, "length": length, "ops": [["set", 0, 0, html]]}


def build_snapshot(text: str) -> dict[str, Any]:
    parts, lengths = {"text": text, "reasoning": ""}, {"text": len(text), "reasoning": 0}
    return {
        "type": "reply.snapshot",
        "reply": "r",
        "state": "done",
        "parts": parts,
        "lengths": lengths,
        "html": render_blocks(text),
    }


def build_finished(length: int) -> dict[str, Any]:
    return {"type": "reply.finished", "reply": "r", "state": "done", "length": length, "error": None}


def watch(frames: Frames, answer: Frames, look: Callable[[PageViewer], None]) -> None:
    """A page that is sent `frames`, and `answer` whenever it asks for a snapshot. Look at it when its reply has ended."""

    async def serve(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        for frame in frames:
            await socket.send_json(frame)
        async for _ in socket:
            for frame in answer:
                await socket.send_json(frame)
        return socket

    async def run() -> PageViewer:
        application = web.Application()
        application.router.add_get("/ws", serve)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with aiohttp.ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}/") as session:
            viewer = PageViewer(session, "ws")
            await until(lambda: "r" in viewer.replies and viewer.get("r").state, 5, "the end")
            await viewer.close()
        await runner.cleanup()
        return viewer

    look(asyncio.run(run()))


def test_operations_are_painted() -> None:
    whole = [build_delta(0, 4, "<p>One"), build_delta(4, len(TEXT), render_blocks(TEXT)[0]), build_finished(len(TEXT))]

    def look(viewer: PageViewer) -> None:
        assert (viewer.shows("r", TEXT), viewer.complaints, viewer.resumes) == (True, [], 0)

    watch(whole, [], look)


def test_gap_is_closed_by_a_snapshot() -> None:
    def look(viewer: PageViewer) -> None:
        assert (viewer.shows("r", TEXT), viewer.complaints, viewer.resumes) == (True, [], 1)

    watch([build_delta(0, 4, "<p>One"), build_delta(9, 12, "lost")], [build_snapshot(TEXT), build_finished(len(TEXT))], look)


def test_other_html_than_that_of_the_row_is_noticed() -> None:
    def look(viewer: PageViewer) -> None:
        assert not viewer.shows("r", TEXT)

    watch([build_delta(0, len(TEXT), "<p>One <b>two</b> three.</p>"), build_finished(len(TEXT))], [], look)
