"""The front door, as a process: long bodies and slow requests end at it, everything else passes."""

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import aiohttp
import psutil
import pytest

from ops.engines import process
from tests.ops.standin import CHECKOUT, find_free_port

MIB = 1024 * 1024
TIMEOUT_S = 1.0
APPLICATION = """\
import asyncio

asked = 0

async def application(scope, receive, send):
    await (talk if scope["type"] == "websocket" else answer)(scope, receive, send)

async def answer(scope, receive, send):
    global asked
    asked += scope["method"] == "POST"
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message["body"], message["more_body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if scope["path"] == "/stream":
        await send({"type": "http.response.body", "body": b"begun ", "more_body": True})
        await asyncio.sleep(2.5)
    words = f"{len(body)} bytes, {asked} asked"
    await send({"type": "http.response.body", "body": words.encode()})

async def talk(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    await asyncio.sleep(2.5)
    await send({"type": "websocket.send", "text": "still here"})
    await receive()
"""


@contextmanager
def opened(base: Path, *options: str, application: str = APPLICATION) -> Iterator[tuple[int, psutil.Process]]:
    """A door in front of an application: its port and its process."""
    (base / "app.py").write_text(application)
    port = find_free_port()
    argv = [sys.executable, "-m", "ops.door", "-v", "0", "-b", "127.0.0.1", "-p", str(port), "--websocket_timeout", "-1"]
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT), "PYTHONDONTWRITEBYTECODE": "1"}
    log = base / "door.log"
    door = process.spawn([*argv, *options, "app:application"], log=log, env=environment, cwd=base)
    try:
        process.wait_until(lambda: is_open(port), name="The door", timeout_s=20, log=log, is_alive=lambda: door.poll() is None)
        yield port, psutil.Process(door.pid)
    finally:
        door.kill()
        door.wait()


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, psutil.Process]]:
    with opened(tmp_path_factory.mktemp("door")) as it:
        yield it


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with opened(tmp_path_factory.mktemp("hasty"), "--request-timeout-s", str(TIMEOUT_S)) as (port, _):
        yield port


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def read_answer(connection: socket.socket) -> tuple[int, str]:
    response = HTTPResponse(connection)
    response.begin()
    return response.status, response.read().decode()


def post(port: int, body: bytes) -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("POST", "/", body)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_body_up_to_the_limit_passes(door: tuple[int, psutil.Process]) -> None:
    status, words = post(door[0], b"x" * 2 * MIB)
    assert status == 200
    assert words.startswith(f"{2 * MIB} bytes")


@pytest.mark.parametrize("is_chunked", [False, True])
def test_long_body_is_refused_and_costs_no_memory(door: tuple[int, psutil.Process], is_chunked: bool) -> None:
    port, running = door
    before = running.memory_info().rss
    framing = b"Transfer-Encoding: chunked" if is_chunked else b"Content-Length: %d" % (60 * MIB)
    piece = b"%x\r\n%b\r\n" % (MIB, b"x" * MIB) if is_chunked else b"x" * MIB
    with connect(port) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\n" + framing + b"\r\n\r\n")
        for _ in range(60):
            connection.sendall(piece)
            assert running.memory_info().rss - before < 30 * MIB
        connection.sendall(b"0\r\n\r\n" if is_chunked else b"")
        status, words = read_answer(connection)
    assert running.memory_info().rss - before < 30 * MIB
    assert (status, words) == (413, "That is too much to send at once.\n")


def test_announced_length_is_refused_before_the_first_byte(door: tuple[int, psutil.Process]) -> None:
    with connect(door[0]) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\nExpect: 100-continue\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\n")
    assert b"100 Continue" not in answer


def test_refused_request_never_reaches_the_application(tmp_path: Path) -> None:
    with opened(tmp_path, "--body-max-bytes", "1000") as (port, _):
        with connect(port) as connection:
            chunk = b"258\r\n" + b"x" * 600 + b"\r\n"
            chunks = chunk + chunk + b"0\r\n\r\n"
            connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)
            assert read_answer(connection)[0] == 413
        assert post(port, b"x" * 1000) == (200, "1000 bytes, 1 asked")


def test_refused_connection_is_dropped_though_the_client_goes_on(door: tuple[int, psutil.Process]) -> None:
    port, running = door

    def is_dropped() -> bool:
        return not [item for item in running.net_connections() if item.status != "LISTEN" and item.laddr.port == port]

    with connect(port) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n")
        assert read_answer(connection)[0] == 413
        connection.sendall(b"x" * MIB)
        process.wait_until(is_dropped, name="The end of the connection", timeout_s=8)


@pytest.mark.parametrize(
    "begun",
    [b"GE", b"POST / HTTP/1.1\r\nHost: x\r\nX-Slow: ", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"],
    ids=["first line", "header", "body"],
)
def test_request_that_drips_is_ended(hasty: int, begun: bytes) -> None:
    with connect(hasty) as connection:
        connection.sendall(begun)
        assert TIMEOUT_S * 0.8 < drip(connection) < 5


def drip(connection: socket.socket) -> float:
    """Send a byte again and again until the server has had enough; the seconds that it took."""
    began_at = time.monotonic()
    connection.settimeout(0.2)
    while time.monotonic() - began_at < 10:
        try:
            connection.sendall(b"x")
            if not connection.recv(4096):
                break
        except TimeoutError:
            continue
        except ConnectionError:
            break
    return time.monotonic() - began_at


def test_connection_is_kept_for_the_next_request(hasty: int) -> None:
    connection = HTTPConnection("127.0.0.1", hasty, timeout=10)
    for size in (10, 20, 30):
        connection.request("POST", "/", b"x" * size)
        assert connection.getresponse().read().startswith(b"%d bytes" % size)
    connection.close()


def test_running_response_outlives_the_timeout(hasty: int) -> None:
    with connect(hasty) as connection:
        connection.sendall(b"GET /stream HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        status, words = read_answer(connection)
    assert status == 200
    assert words.startswith("begun 0 bytes")


def test_open_websocket_outlives_the_timeout(hasty: int) -> None:
    async def listen() -> str:
        async with aiohttp.ClientSession() as session, session.ws_connect(f"http://127.0.0.1:{hasty}/") as socket:
            return await socket.receive_str(timeout=10)

    assert asyncio.run(listen()) == "still here"


@pytest.mark.parametrize(
    ("loss", "name"),
    [
        ("from twisted.web.http import Request as it; del it.gotLength", "WebRequest has no gotLength"),
        ("from twisted.protocols.policies import TimeoutMixin as it; del it.resetTimeout", "HTTPChannel has no resetTimeout"),
    ],
)
def test_daphne_that_cannot_be_limited_does_not_start(tmp_path: Path, loss: str, name: str) -> None:
    script = f"{loss}; from ops.door.__main__ import main; main(['-p', '0', 'app:application'])"
    (tmp_path / "app.py").write_text(APPLICATION)
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT)}
    started = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=20, check=False
    )
    assert started.returncode == 1
    assert name in started.stderr
    assert "Traceback" not in started.stderr
