"""The chaos proxy does what the faults believe it does."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing, suppress

import pytest

from tests.faults.proxy import ChaosProxy

Talk = Callable[[ChaosProxy, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError), closing(writer):
        while data := await reader.read(1024):
            writer.write(data)


@asynccontextmanager
async def running_proxy() -> AsyncIterator[ChaosProxy]:
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    proxy = ChaosProxy(("127.0.0.1", server.sockets[0].getsockname()[1]))
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()
        server.close()


def play(talk: Talk) -> None:
    """Hold a conversation through a proxy to an echo."""

    async def run() -> None:
        async with asyncio.timeout(10), running_proxy() as proxy:
            reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
            writer.write(b"hello")
            assert await reader.readexactly(5) == b"hello"
            await talk(proxy, reader, writer)
            writer.close()

    asyncio.run(run())


def test_reset_ends_open_connections() -> None:
    async def talk(proxy: ChaosProxy, reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        assert proxy.reset() == 1
        with pytest.raises(ConnectionResetError):
            await reader.read()

    play(talk)


def test_refused_connections_work_again_on_the_same_port() -> None:
    async def talk(proxy: ChaosProxy, _reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        port = proxy.port
        await proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        await proxy.heal()
        _, again = await asyncio.open_connection("127.0.0.1", port)
        again.close()

    play(talk)


def test_hole_keeps_everything_back_until_it_heals() -> None:
    async def talk(proxy: ChaosProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        proxy.open_hole()
        writer.write(b"late")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(4), 0.1)
        await proxy.heal()
        assert await reader.readexactly(4) == b"late"

    play(talk)


def test_intercepted_request_is_answered_by_the_proxy_on_old_connections_only() -> None:
    async def talk(proxy: ChaosProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        proxy.intercept(rb"^GIVE", answer=b"none")
        writer.write(b"GIVE me")
        assert await reader.readexactly(4) == b"none"
        writer.write(b"PING")
        assert await reader.readexactly(4) == b"PING"
        other, other_writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        other_writer.write(b"GIVE")
        assert await other.readexactly(4) == b"GIVE"
        other_writer.close()
        assert proxy.intercepted == 1

    play(talk)


def test_answer_is_cut_after_so_many_bytes() -> None:
    async def talk(proxy: ChaosProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        proxy.cut_after = 8
        writer.write(b"0123456789")
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await reader.readexactly(10)

    play(talk)


def test_trickle_and_latency_slow_it_down() -> None:
    async def talk(proxy: ChaosProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        proxy.trickle_bytes_s, proxy.latency_s = 100, 0.05
        started = loop.time()
        writer.write(b"0123456789")
        assert await reader.readexactly(10) == b"0123456789"
        assert loop.time() - started > 0.15

    play(talk)
