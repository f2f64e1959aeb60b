"""How the door closes: nobody new comes in, nobody is thrown out in the middle of a sentence, and all are gone in time.

Daphne cancels everything at the first signal: browsers see a line that broke and wait, and requests get no answer. Here
sockets are closed with a code that says "come back at once", event streams end where they are, since both go on elsewhere
from where they were, and requests get `FINISH_S` for their answers. A second signal ends the process at once.
"""

import asyncio
import logging
import os
import signal
import threading
import time
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort

from ops.door.backpressure import is_event_stream
from ops.door.wrapping import find_methods

log = logging.getLogger(__name__)
# The protocol's own code is 1012, which autobahn refuses to send.
RESTARTING = 4012
# Together below the 10 s after which supervisors kill.
FINISH_S = 5.0
CANCEL_S = 1.0
LIMIT_S = 8.0
LOOK_S = 0.02


def leave_in_order(servers: Any, sockets: Any, reactor: Any, *, finish_s: float) -> None:
    """Put this in the place of Daphne's own end, which the reactor waits for before it stops."""
    find_methods(servers, "kill_all_applications")
    find_methods(sockets, "serverClose", "serverReject")

    def leave(server: Any) -> Deferred[None]:
        return Deferred.fromFuture(asyncio.ensure_future(Departure(server, sockets, reactor, finish_s).run()))

    servers.kill_all_applications = leave


@dataclass(frozen=True, slots=True)
class Departure:
    """`sockets`: the class of WebSocket connections. All else that is connected are requests."""

    server: Any
    sockets: Any
    reactor: Any
    finish_s: float

    async def run(self) -> None:
        _end_at_second_signal()
        _end_at_limit()
        self._stop_listening()
        deadline = time.monotonic() + self.finish_s
        while self._see_off() and time.monotonic() < deadline:
            await asyncio.sleep(LOOK_S)
        await self._cancel_rest()

    def _stop_listening(self) -> None:
        for reader in self.reactor.getReaders():
            if IListeningPort.providedBy(reader):
                reader.stopListening()

    def _see_off(self) -> bool:
        """Tell whoever has come so far. Is anybody still here, or an answer still on its way?"""
        is_anybody_here = bool(self.reactor.getWriters())
        for protocol, details in list(self.server.connections.items()):
            if "disconnected" not in details:
                (_close_socket if isinstance(protocol, self.sockets) else _end_request)(protocol)
            is_anybody_here |= "disconnected" not in details or _is_running(details)
        return is_anybody_here

    async def _cancel_rest(self) -> None:
        rest = [details["application_instance"] for details in self.server.connections.values() if _is_running(details)]
        for instance in rest:
            instance.cancel()
        if rest:
            log.warning("%d requests and sockets were not over in time", len(rest))
            await asyncio.wait(rest, timeout=CANCEL_S)


def _end_at_second_signal() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def _end_at_limit() -> None:
    """A thread that hangs in the database would keep the interpreter from ending."""
    timer = threading.Timer(LIMIT_S, os._exit, (1,))
    timer.daemon = True
    timer.start()


def _close_socket(protocol: Any) -> None:
    if protocol.state == protocol.STATE_OPEN:
        protocol.serverClose(RESTARTING)
    elif protocol.state == protocol.STATE_CONNECTING:
        protocol.serverReject()


def _end_request(request: Any) -> None:
    """Event streams would never end; the others get their answer, and the connection ends with it."""
    if request._response_started and is_event_stream(request):
        request.finish()
    else:
        request.channel.persistent = False
        request.responseHeaders.setRawHeaders(b"connection", [b"close"])


def _is_running(details: dict[str, Any]) -> bool:
    instance = details.get("application_instance")
    return instance is not None and not instance.done()
