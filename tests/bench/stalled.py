"""Viewers that connect and then never read, as a phone in a tunnel or a laptop whose lid was closed."""

import asyncio
import socket
import time
from pathlib import Path
from typing import Any

import aiohttp

from tests.bench.api import Person

RECEIVE_BYTES = 4096
# Loopback's segments have 64 kB, for which the kernel holds 2.6 MB; with those of a network it holds as much as in life.
SEGMENT_BYTES = 1400
WATCH_S = 0.5  # the table of a thousand sockets takes milliseconds, which are the healthy viewers' too
LOOPBACK = "0100007F"
ESTABLISHED = "01"


class StalledViewers:
    """`held_bytes`: the most that the kernel held for one. `let_go_s`: when the server ended the connections that it ended."""

    def __init__(self, address: str, bearer: str) -> None:
        self.held_bytes = 0
        self.let_go_s: list[float] = []
        self._server_port = int(address.rpartition(":")[2])
        connector = aiohttp.TCPConnector(limit=0, socket_factory=make_small_socket)
        self._session = aiohttp.ClientSession(address, connector=connector)
        self._bearer = bearer
        self._sockets: dict[int, aiohttp.ClientWebSocketResponse] = {}

    async def open(self, conversation: str, count: int) -> None:
        for _ in range(count):
            opened = await Person(self._session, self._bearer).watch(conversation)
            get_transport(opened).pause_reading()
            self._sockets[opened.get_extra_info("sockname")[1]] = opened
        self._watcher = asyncio.create_task(self._watch())

    async def close(self) -> None:
        self._watcher.cancel()
        await asyncio.gather(self._watcher, return_exceptions=True)
        for opened in self._sockets.values():
            get_transport(opened).abort()
        await self._session.close()

    async def _watch(self) -> None:
        """At the server's ends, since at these nothing is seen before it is read."""
        began, watched = time.monotonic(), set(self._sockets)
        while watched:
            table = await asyncio.to_thread(Path("/proc/net/tcp").read_text)
            for port in tuple(watched):
                held = find_held_bytes(table, self._server_port, port)
                if held is None:
                    watched.discard(port)
                    self.let_go_s.append(time.monotonic() - began)
                else:
                    self.held_bytes = max(self.held_bytes, held)
            await asyncio.sleep(WATCH_S)


def get_transport(opened: aiohttp.ClientWebSocketResponse) -> asyncio.Transport:
    transport = opened._writer.transport
    assert isinstance(transport, asyncio.Transport)
    return transport


def make_small_socket(info: tuple[Any, ...]) -> socket.socket:
    """Both options count only before the connection is made."""
    made = socket.socket(*info[:3])
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT_BYTES)
    made.setblocking(False)
    return made


def find_held_bytes(table: str, server_port: int, viewer_port: int) -> int | None:
    """What waits in the kernel at the server's end and at the viewer's; None when the server has ended the connection."""
    state, sent, _ = _find_socket(table, server_port, viewer_port)
    _, _, received = _find_socket(table, viewer_port, server_port)
    return sent + received if state == ESTABLISHED else None


def _find_socket(table: str, local_port: int, remote_port: int) -> tuple[str, int, int]:
    """Its state, and how many bytes it has to send and to be read; without a state when there is none."""
    _, found, rest = table.partition(f"{LOOPBACK}:{local_port:04X} {LOOPBACK}:{remote_port:04X} ")
    if not found:
        return "", 0, 0
    state, sizes = rest.split(maxsplit=2)[:2]
    sent, received = sizes.split(":")
    return state, int(sent, 16), int(received, 16)
