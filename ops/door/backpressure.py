"""A client that does not read is not written to: what it has not fetched stays with the application, which can forget it.

Daphne's `send` returns at once whatever the client does, and Twisted keeps the bytes: one stalled reader took 125 MB, and a
queue behind `send` never fills. Twisted does ask a registered producer to pause above 64 KiB. Here that producer is a valve,
and `send` waits while it is shut: of WebSocket messages and of event streams. Close frames and pings pass, and so do ordinary
responses, which end by themselves and whose turn another request waits for.
"""

import asyncio
from collections.abc import Awaitable
from typing import Any

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from ops.door.wrapping import find_methods

# Who reads nothing for so long is gone, or holds our memory on purpose.
PATIENCE_S = 60.0
HELD = frozenset({"websocket.send", "http.response.body"})


@implementer(IPushProducer)
class Valve:
    """Between an application that writes and one connection. The methods' names are Twisted's; it calls them on the loop."""

    __slots__ = ("_end", "_has_opened", "_patience_s", "_transport", "is_shut")

    def __init__(self, transport: Any, *, patience_s: float) -> None:
        self.is_shut = False
        self._transport = transport
        self._patience_s = patience_s
        self._has_opened: asyncio.Event | None = None
        self._end: asyncio.TimerHandle | None = None

    def pauseProducing(self) -> None:  # noqa: N802
        """Also called for each further write above the limit."""
        if self.is_shut:
            return
        self.is_shut = True
        self._has_opened = asyncio.Event()
        self._end = asyncio.get_running_loop().call_later(self._patience_s, self._transport.abortConnection)

    def resumeProducing(self) -> None:  # noqa: N802
        """Everything was fetched, or nothing will be: whoever waits goes on, and finds out."""
        if self._has_opened is None or self._end is None:
            return
        self.is_shut = False
        self._end.cancel()
        self._has_opened.set()
        self._has_opened = self._end = None

    stopProducing = resumeProducing  # noqa: N815

    async def wait(self) -> None:
        while self._has_opened is not None:
            await self._has_opened.wait()


def wait_for_readers(servers: Any, sockets: Any, requests: Any, *, patience_s: float) -> None:
    """Let `send` wait for its reader, and end the connection of a reader that does nothing for `patience_s`.

    For the others this is one attribute a message (45 ns).
    """
    _hold_replies(servers)
    _watch_sockets(sockets, patience_s)
    _watch_event_streams(requests, patience_s)
    sockets.valve = requests.valve = Valve(None, patience_s=patience_s)  # of those that have none: it is never shut


def _hold_replies(servers: Any) -> None:
    handle, disconnect = find_methods(servers, "handle_reply", "protocol_disconnected")

    async def handle_when_read(server: Any, protocol: Any, message: dict[str, Any]) -> None:
        await protocol.valve.wait()
        await handle(server, protocol, message)

    def handle_or_hold(server: Any, protocol: Any, message: dict[str, Any]) -> Awaitable[None]:
        is_held = protocol.valve.is_shut and message.get("type") in HELD
        coroutine: Awaitable[None] = (handle_when_read if is_held else handle)(server, protocol, message)
        return coroutine

    def disconnect_and_release(server: Any, protocol: Any) -> None:
        disconnect(server, protocol)
        protocol.valve.stopProducing()

    servers.handle_reply, servers.protocol_disconnected = handle_or_hold, disconnect_and_release


def _watch_sockets(sockets: Any, patience_s: float) -> None:
    (connect,) = find_methods(sockets, "connectionMade")

    def connect_with_valve(protocol: Any) -> None:
        connect(protocol)
        protocol.transport.unregisterProducer()  # the HTTP channel that the socket has come from
        protocol.valve = Valve(protocol.transport, patience_s=patience_s)
        protocol.registerProducer(protocol.valve, True)

    sockets.connectionMade = connect_with_valve


def _watch_event_streams(requests: Any, patience_s: float) -> None:
    handle, finish = find_methods(requests, "handle_reply", "finish")

    def handle_with_valve(request: Any, message: dict[str, Any]) -> None:
        handle(request, message)
        if message.get("type") == "http.response.start" and not request.finished and is_event_stream(request):
            request.valve = Valve(request.transport, patience_s=patience_s)
            request.registerProducer(request.valve, True)

    def unregister_and_finish(request: Any) -> None:
        if request.producer is not None and request.channel is not None:
            request.unregisterProducer()
        finish(request)

    requests.handle_reply, requests.finish = handle_with_valve, unregister_and_finish


def is_event_stream(request: Any) -> bool:
    kinds = request.responseHeaders.getRawHeaders(b"content-type") or [b""]
    return bool(kinds[0].startswith(b"text/event-stream"))
