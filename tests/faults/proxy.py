"""A small TCP proxy that misbehaves on demand, between the product and what it depends on. Loopback only."""

import asyncio
import re
import socket
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

CHUNK_BYTES = 64 * 1024
RESET = struct.pack("ii", 1, 0)  # a socket that lingers for no time ends with RST instead of FIN
Target = tuple[str, int] | Path


class ChaosProxy:
    """Forwards to a host and port, or to a Unix socket. A fault holds for open and new connections until `heal`.

    latency_s: every piece is held that long. trickle_bytes_s: answers come no faster. cut_after: a connection is reset
    when so many bytes of answer have passed. `open_hole` keeps everything back, as a partition does; `refuse` closes the
    door; `reset` ends what is open now; `intercept` is for single requests.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self.port = 0
        self.latency_s = 0.0
        self.trickle_bytes_s: float | None = None
        self.cut_after: int | None = None
        self.intercepted = 0
        self._pattern: re.Pattern[bytes] | None = None
        self._answer = b""
        self._suspects: set[asyncio.StreamWriter] = set()
        self._is_passing = asyncio.Event()
        self._is_passing.set()
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._pumps: set[asyncio.Task[Any]] = set()
        self._handlers: set[asyncio.Task[Any]] = set()

    async def start(self) -> None:
        """Listen; after `refuse`, on the same port again."""
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
            self.port = int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        await self.refuse()
        for pump in tuple(self._pumps):
            pump.cancel()
        await asyncio.gather(*self._pumps, *self._handlers, return_exceptions=True)
        await asyncio.sleep(0)  # closed sockets are let go in the loop's next round

    async def refuse(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        self.reset()

    def reset(self) -> int:
        """End every open connection with RST. The number of connections."""
        writers = tuple(self._open)
        for writer in writers:
            abort(writer)
        return len(writers) // 2

    def open_hole(self) -> None:
        self._is_passing.clear()

    def intercept(self, pattern: bytes, *, answer: bytes = b"") -> None:
        """On the connections that are open now, requests like this do not arrive any more: each is answered with `answer` a
        second later, or never. `intercepted` counts them. Connections made later are well.
        """
        self.intercepted, self._pattern, self._answer = 0, re.compile(pattern, re.DOTALL), answer
        self._suspects = set(self._open)

    async def heal(self) -> None:
        self.latency_s, self.trickle_bytes_s, self.cut_after = 0.0, None, None
        self._pattern = None
        self._is_passing.set()
        await self.start()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if handler := asyncio.current_task():
            note(handler, self._handlers)
        try:
            backend = await self._connect()
        except OSError:
            abort(writer)
            return
        self._open |= {writer, backend[1]}
        pumps = [
            asyncio.create_task(self._pump(reader, backend[1], writer)),
            asyncio.create_task(self._pump(backend[0], writer, backend[1], True)),
        ]
        for pump in pumps:
            note(pump, self._pumps)
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._open -= {writer, backend[1]}
            for pump in pumps:
                pump.cancel()
            writer.close()
            backend[1].close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self.target, Path):
            return await asyncio.open_unix_connection(self.target)
        return await asyncio.open_connection(*self.target)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, back: asyncio.StreamWriter, is_answer: bool = False
    ) -> None:
        passed = 0
        with suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                if not is_answer and self._is_intercepted(writer, data):
                    await self._answer_late(back)
                    continue
                await asyncio.sleep(self.latency_s)
                await self._is_passing.wait()
                if is_answer and self.cut_after is not None and passed + len(data) > self.cut_after:
                    writer.write(data[: max(0, self.cut_after - passed)])
                    abort(writer)
                    return
                passed += len(data)
                await self._write(writer, data, is_answer)

    def _is_intercepted(self, writer: asyncio.StreamWriter, data: bytes) -> bool:
        return self._pattern is not None and writer in self._suspects and bool(self._pattern.search(data))

    async def _answer_late(self, back: asyncio.StreamWriter) -> None:
        self.intercepted += 1
        if self._answer:
            await asyncio.sleep(1)
            back.write(self._answer)

    async def _write(self, writer: asyncio.StreamWriter, data: bytes, is_answer: bool) -> None:
        while is_answer and self.trickle_bytes_s and data:
            writer.write(data[:1])
            data = data[1:]
            await asyncio.sleep(1 / self.trickle_bytes_s)
        writer.write(data)
        await writer.drain()


def note(task: asyncio.Task[Any], running: set[asyncio.Task[Any]]) -> None:
    running.add(task)
    task.add_done_callback(running.discard)


def abort(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    if connection is not None and connection.family != socket.AF_UNIX:
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()
