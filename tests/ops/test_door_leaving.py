"""The door is told to go: sockets are sent away with a code, event streams end, requests get their answers, and it is gone."""

import asyncio
import json
import signal
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path

import aiohttp
import psutil
import pytest

from ops.engines import process
from tests.ops.test_door import is_open, opened
from tests.ops.test_door_backpressure import HANDSHAKE, stalled

APPLICATION = """\
import asyncio, json
from pathlib import Path

PIECE = "x" * 60000
counts = dict.fromkeys(("sent", "asked"), 0)

async def application(scope, receive, send):
    await DOORS[scope["path"]](receive, send)

async def talk(receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": "hello"})
    writer = asyncio.create_task(write(send))
    while (await receive())["type"] != "websocket.disconnect":
        pass
    writer.cancel()
    with open("disconnected", "a") as log:
        log.write("x")

async def write(send):
    while True:
        await send({"type": "websocket.send", "text": PIECE})
        counts["sent"] += 1
        await asyncio.sleep(0.001)

async def events(receive, send):
    await start(send, b"text/event-stream")
    await send({"type": "http.response.body", "body": b"data: 1\\n\\n", "more_body": True})
    while (await receive())["type"] != "http.disconnect":
        pass

async def slow(receive, send):
    counts["asked"] += 1
    while not Path("may-answer").exists():
        await asyncio.sleep(0.02)
    await start(send, b"text/plain")
    await send({"type": "http.response.body", "body": b"x" * 3_000_000})

async def tell_counts(receive, send):
    await start(send, b"application/json")
    await send({"type": "http.response.body", "body": json.dumps(counts).encode()})

async def start(send, kind):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})

DOORS = {"/": talk, "/events": events, "/slow": slow, "/counts": tell_counts}
"""


@pytest.fixture
def door(tmp_path: Path) -> Iterator[tuple[int, psutil.Process]]:
    with opened(tmp_path, application=APPLICATION) as it:
        yield it


def tell_to_go(door: tuple[int, psutil.Process]) -> None:
    door[1].terminate()
    process.wait_until(lambda: not is_open(door[0]), name="A door that lets nobody in", timeout_s=5)


def wait_gone(running: psutil.Process, timeout_s: float) -> int | None:
    """The exit status."""
    return running.wait(timeout_s)


@contextmanager
def asked(port: int, path: str) -> Iterator[HTTPConnection]:
    """A request whose answer nobody has read yet."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("GET", path)
        yield connection


@contextmanager
def slow_asked(port: int) -> Iterator[HTTPConnection]:
    def is_asked() -> bool:
        with asked(port, "/counts") as counts:
            return bool(json.loads(counts.getresponse().read())["asked"])

    with asked(port, "/slow") as connection:
        process.wait_until(is_asked, name="A request under way", timeout_s=5)
        yield connection


def test_sockets_are_told_to_come_back(door: tuple[int, psutil.Process], tmp_path: Path) -> None:
    async def watch() -> list[int | None]:
        async with aiohttp.ClientSession() as session:
            sockets = [await session.ws_connect(f"http://127.0.0.1:{door[0]}/", max_msg_size=0) for _ in range(20)]
            for it in sockets:
                assert await it.receive_str(timeout=5) == "hello"
            door[1].terminate()
            return [await read_to_end(it) for it in sockets]

    assert asyncio.run(watch()) == [4012] * 20
    assert wait_gone(door[1], 3) == 0
    assert (tmp_path / "disconnected").read_text() == "x" * 20


async def read_to_end(it: aiohttp.ClientWebSocketResponse) -> int | None:
    async for _ in it:
        pass
    return it.close_code


def test_requests_get_their_answers(door: tuple[int, psutil.Process], tmp_path: Path) -> None:
    with slow_asked(door[0]) as slow:
        tell_to_go(door)
        (tmp_path / "may-answer").touch()
        response = slow.getresponse()
        assert response.headers["Connection"] == "close"
        assert len(response.read()) == 3_000_000
    assert wait_gone(door[1], 3) == 0


def test_event_streams_end_in_order(door: tuple[int, psutil.Process]) -> None:
    with asked(door[0], "/events") as events:
        response = events.getresponse()
        assert response.readline() == b"data: 1\n"
        door[1].terminate()
        assert response.read() == b"\n"  # and not IncompleteRead
    assert wait_gone(door[1], 3) == 0


def test_request_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    with opened(tmp_path, "--finish-s", "0.3", application=APPLICATION) as door:
        with slow_asked(door[0]) as slow:
            door[1].terminate()
            with pytest.raises(ConnectionError):
                slow.getresponse()
        assert wait_gone(door[1], 3) == 0
    assert "1 requests and sockets were not over in time" in (tmp_path / "door.log").read_text()


def test_idle_connection_and_stalled_socket_do_not_keep_it(door: tuple[int, psutil.Process]) -> None:
    port, running = door
    with asked(port, "/counts") as idle, stalled(port, HANDSHAKE), socket.create_connection(("127.0.0.1", port)):
        assert idle.getresponse().read()
        running.terminate()
        assert wait_gone(running, 4) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_second_signal_ends_at_once(door: tuple[int, psutil.Process], number: signal.Signals) -> None:
    with slow_asked(door[0]):
        tell_to_go(door)
        door[1].send_signal(number)
        assert wait_gone(door[1], 1) == -number


def test_interrupt_is_orderly_too(door: tuple[int, psutil.Process]) -> None:
    door[1].send_signal(signal.SIGINT)
    assert wait_gone(door[1], 3) == 0
