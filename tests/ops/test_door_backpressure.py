"""Who does not read is not written to: the door keeps little for it, others do not notice, and it may go on or is dropped."""

import asyncio
import json
import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import aiohttp
import psutil
import pytest

from ops.engines import process
from tests.ops.test_door import MIB, connect, opened

PATIENCE_S = 1.5
PIECE_BYTES = 60_000
PIECES = 1000
APPLICATION = f"""\
import asyncio, json

PIECE = "x" * {PIECE_BYTES}
counts = dict.fromkeys(("sent", "ended", "answered"), 0)

async def application(scope, receive, send):
    await (flood if scope["type"] == "websocket" else answer)(scope, receive, send)

async def flood(scope, receive, send):
    await receive()
    await send({{"type": "websocket.accept"}})
    writer = asyncio.create_task(write(send))
    while (await receive())["type"] != "websocket.disconnect":
        await send({{"type": "websocket.close", "code": 4401}})
    writer.cancel()
    await asyncio.gather(writer, return_exceptions=True)
    counts["ended"] += 1

async def write(send):
    for _ in range({PIECES}):
        await send({{"type": "websocket.send", "text": PIECE}})
        counts["sent"] += 1

async def answer(scope, receive, send):
    kind = b"text/event-stream" if scope["path"] == "/events" else b"text/plain"
    await send({{"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]}})
    if scope["path"] != "/counts":
        for _ in range({PIECES}):
            await send({{"type": "http.response.body", "body": PIECE.encode(), "more_body": True}})
            counts["sent"] += 1
        counts["answered"] += 1
    await send({{"type": "http.response.body", "body": json.dumps(counts).encode()}})
"""
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
WORD = b"\x81\x82\x00\x00\x00\x00hi"  # a masked text frame


@pytest.fixture
def door(tmp_path: Path) -> Iterator[tuple[int, psutil.Process]]:
    with opened(tmp_path, application=APPLICATION) as it:
        yield it


@pytest.fixture
def impatient(tmp_path: Path) -> Iterator[int]:
    with opened(tmp_path, "--reader-patience-s", str(PATIENCE_S), application=APPLICATION) as (port, _):
        yield port


@contextmanager
def stalled(port: int, request: bytes) -> Iterator[socket.socket]:
    """A client that has asked and reads nothing, with a small window, when the door has come to wait for it."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
        connection.settimeout(10)
        connection.connect(("127.0.0.1", port))
        connection.sendall(request)
        wait_until_quiet(port)
        yield connection


def wait_until_quiet(port: int) -> None:
    """Until the application has begun to send and does not come further: two looks in a row say the same."""
    seen = [0]

    def is_quiet() -> bool:
        seen.append(ask(port)["sent"])
        return 0 < seen[-1] == seen[-2]

    process.wait_until(is_quiet, name="An application that waits", timeout_s=10)


def ask(port: int) -> dict[str, int]:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/counts")
        answer: dict[str, int] = json.loads(connection.getresponse().read())
        return answer
    finally:
        connection.close()


def wait_for(port: int, name: str, timeout_s: float = 8) -> None:
    process.wait_until(lambda: ask(port)[name] > 0, name=f"An application that has {name}", timeout_s=timeout_s)


def read_all(connection: socket.socket) -> int:
    """The length of the next whole messages, until all have come. Fails for a message that is not as it was sent."""
    stream = connection.makefile("rb")
    while stream.readline().strip():  # the handshake's answer
        pass
    for _ in range(PIECES):
        assert stream.read(4) == b"\x81\x7e" + PIECE_BYTES.to_bytes(2)
        assert stream.read(PIECE_BYTES) == b"x" * PIECE_BYTES
    return PIECES


async def watch(port: int) -> int:
    async with aiohttp.ClientSession() as session, session.ws_connect(f"http://127.0.0.1:{port}/") as it:
        return len([await it.receive_str(timeout=10) for _ in range(PIECES)])


def test_reader_that_stalls_costs_little_and_slows_nobody(door: tuple[int, psutil.Process]) -> None:
    port, running = door
    before = running.memory_info().rss
    with stalled(port, HANDSHAKE), stalled(port, HANDSHAKE):
        stuck = ask(port)["sent"]
        assert asyncio.run(watch(port)) == PIECES
        assert ask(port)["sent"] == stuck + PIECES
        assert running.memory_info().rss - before < 10 * MIB


def test_reader_that_goes_on_gets_everything(door: tuple[int, psutil.Process]) -> None:
    with stalled(door[0], HANDSHAKE) as connection:
        assert read_all(connection) == PIECES
    wait_for(door[0], "ended")


def test_event_stream_waits_for_its_reader(door: tuple[int, psutil.Process]) -> None:
    port, running = door
    before = running.memory_info().rss
    with stalled(port, b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n") as connection:
        assert running.memory_info().rss - before < 10 * MIB
        assert not ask(port)["answered"]
        response = HTTPResponse(connection)
        response.begin()
        assert len(response.read()) > PIECES * PIECE_BYTES
    assert ask(port)["answered"] == 1


@pytest.mark.parametrize("request_", [HANDSHAKE, b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n"], ids=["socket", "events"])
def test_reader_that_stalls_for_long_is_dropped(impatient: int, request_: bytes) -> None:
    with stalled(impatient, request_) as connection:
        assert wait_for_reset(connection)
    if request_ is HANDSHAKE:
        wait_for(impatient, "ended")


def wait_for_reset(connection: socket.socket) -> int:
    """Without reading a byte."""
    poll = select.poll()
    poll.register(connection, 0)
    assert poll.poll(8000)
    return connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


def test_stalled_socket_is_closed_when_the_application_says_so(door: tuple[int, psutil.Process]) -> None:
    port, _ = door
    with stalled(port, HANDSHAKE) as connection:
        connection.sendall(WORD)
        wait_for(port, "ended", timeout_s=4)


def test_stalled_socket_that_goes_away_frees_its_application(door: tuple[int, psutil.Process]) -> None:
    with stalled(door[0], HANDSHAKE):
        pass
    wait_for(door[0], "ended", timeout_s=4)


def test_ordinary_response_does_not_keep_its_turn_for_a_slow_reader(door: tuple[int, psutil.Process]) -> None:
    with connect(door[0]) as connection:
        connection.sendall(b"GET /page HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for(door[0], "answered")
