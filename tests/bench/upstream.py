"""A provider that writes at a fixed rate and remembers what it wrote. The OpenAI protocol, straight on asyncio, to cost little.

`POST /v1/chat/completions`: the last message is an `Order`. `GET /calls/<key>`: the `Call`, as JSON.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Iterator

import msgspec

from tests.bench.orders import Call, Order, read_order
from tests.bench.processes import serve
from tests.bench.text import build_filler, build_stamp, build_templates, read_clock

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n"
FRAME = b'data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1,"model":"bench","choices":%s}\n\n'
USAGE = b'data: {"id":"chatcmpl-bench","choices":[],"usage":{"prompt_tokens":10,"completion_tokens":%d}}\n\ndata: [DONE]\n\n'
LAST = FRAME % b'[{"index":0,"delta":{},"finish_reason":"stop"}]'
END = b"0\r\n\r\n"

calls: dict[str, Call] = {}


class Message(msgspec.Struct):
    content: str


class Request(msgspec.Struct):
    messages: list[Message]


read_request = msgspec.json.Decoder(Request).decode


def build_chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Answer:
    """One reply, written token by token by a timer of its own, as independent providers would."""

    def __init__(self, transport: asyncio.Transport, order: Order) -> None:
        self._transport = transport
        self._order = order
        self._loop = asyncio.get_running_loop()
        self._templates: Iterator[str] = build_templates(order.key)
        self._written: list[str] = []
        self._last_stamp = 0
        self._next_at = self._loop.time() + order.first_ms / 1000
        self._timer = self._loop.call_at(self._next_at, self._write)
        self._call = calls[order.key] = Call(arrived_ns=time.monotonic_ns())
        transport.write(HEAD)

    def _write(self) -> None:
        """A token that is late is written at once and has a later stamp: our own lateness is nobody else's latency."""
        self._last_stamp = max(self._last_stamp + 1, read_clock())
        token = next(self._templates).format(build_stamp(self._last_stamp)) + build_filler(self._order.filler)
        choice = f'[{{"index":0,"delta":{{"content":{json.dumps(token)}}},"finish_reason":null}}]'
        self._transport.write(build_chunk(FRAME % choice.encode()))
        self._written.append(token)
        self._call.first_ns = self._call.first_ns or time.monotonic_ns()
        if len(self._written) == self._order.tokens:
            self._end()
        else:
            self._next_at += 1 / self._order.rate
            self._timer = self._loop.call_at(self._next_at, self._write)

    def _end(self) -> None:
        self._transport.write(build_chunk(LAST + USAGE % len(self._written)) + END)
        self._keep()

    def _keep(self) -> None:
        self._call.text, self._call.tokens = "".join(self._written), len(self._written)

    def close(self) -> None:
        """The caller has hung up, or goes on to its next question."""
        self._timer.cancel()
        if not self._call.closed_ns:
            self._call.closed_ns = time.monotonic_ns()
            self._keep()


class Connection(asyncio.Protocol):
    """As much of HTTP/1.1 as clients of this machine use: a head, a body of known length, one request at a time."""

    def __init__(self) -> None:
        self._received = b""
        self._answer: Answer | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        if self._answer is not None:
            self._answer.close()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if separator and len(body) >= _find_length(head):
            self._received = b""
            self._take(head.split(b" ", 2)[1].decode(), body)

    def _take(self, path: str, body: bytes) -> None:
        if path.startswith("/calls/"):
            call = msgspec.json.encode(calls.get(path.removeprefix("/calls/"), Call(arrived_ns=0)))
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            self._transport.write(head % len(call) + call)
        else:
            if self._answer is not None:
                self._answer.close()
            self._answer = Answer(self._transport, read_order(read_request(body).messages[-1].content))


def _find_length(head: bytes) -> int:
    _, _, rest = head.lower().partition(b"\r\ncontent-length:")
    return int(rest.partition(b"\r\n")[0] or 0)


@contextlib.asynccontextmanager
async def listen() -> AsyncIterator[int]:
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0, backlog=1024)
    yield server.sockets[0].getsockname()[1]
    server.close()


if __name__ == "__main__":
    serve(listen)
