"""Time limits of the connection itself, and what a status or a header means."""

import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from providers import http, runtime
from providers.endpoints import Endpoint
from providers.errors import ProviderBroke, ProviderTimedOut, ProviderUnreachable
from providers.guard import THIS_MACHINE
from providers.statuses import parse_retry_after


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A server that nobody accepts for."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        yield server


async def fetch(port: int) -> bytes:
    async with http.open_session(THIS_MACHINE) as session:
        return await http.fetch(Endpoint(f"http://127.0.0.1:{port}", "", THIS_MACHINE), "/models", session=session)


def test_a_network_that_swallows_everything_times_out(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "CONNECT_TIMEOUT_S", 0.2)
    address = listener.getsockname()
    waiting = [socket.socket() for _ in range(4)]  # fill the queue: the next one gets no answer at all
    for one in waiting:
        one.setblocking(False)
        one.connect_ex(address)
    with pytest.raises(ProviderTimedOut):
        runtime.run(fetch(address[1]))
    for one in waiting:
        one.close()


def test_a_server_that_accepts_and_stays_silent_times_out(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "LISTING_TIMEOUT_S", 0.2)
    with pytest.raises(ProviderTimedOut):
        runtime.run(fetch(listener.getsockname()[1]))


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"SSH-2.0-OpenSSH_9.7\r\n", ProviderBroke),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{", ProviderBroke),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", ProviderBroke),
        (b"", ProviderUnreachable),
    ],
)
def test_what_is_not_http_is_an_error_of_ours(listener: socket.socket, answer: bytes, error: type[Exception]) -> None:
    future = runtime.submit(fetch(listener.getsockname()[1]))
    connection, _ = listener.accept()
    connection.recv(4096)
    connection.sendall(answer)
    listener.close()  # a second attempt finds nobody
    connection.close()
    with pytest.raises(error):
        future.result(10)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("0", 0), ("7", 7), ("1.5", 1.5), ("1000000", 1e6), ("-1", None), ("nan", None), ("inf", None), ("", None)],
)
def test_retry_after_in_seconds(value: str, seconds: float | None) -> None:
    assert parse_retry_after(value) == seconds


def test_retry_after_as_a_date() -> None:
    soon = parse_retry_after(format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True))
    assert soon is not None
    assert 28 <= soon <= 30
    assert parse_retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert parse_retry_after("Wed, 99 Oct 2015") is None
