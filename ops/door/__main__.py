"""Serve with Daphne's own arguments and a few more; their defaults are those of the product."""

import sys
from collections.abc import Sequence

import uvloop
from twisted.internet import asyncioreactor

# Before everything else of Twisted and Daphne: who asks for a reactor first, chooses it. Daphne keeps ours.
asyncioreactor.install(uvloop.new_event_loop())  # type: ignore[no-untyped-call]

from autobahn.websocket import protocol  # noqa: E402
from daphne.cli import CommandLineInterface  # noqa: E402
from daphne.http_protocol import WebRequest  # noqa: E402
from daphne.server import Server  # noqa: E402
from daphne.ws_protocol import WebSocketProtocol  # noqa: E402
from twisted.internet import reactor  # noqa: E402
from twisted.web import http  # noqa: E402

from ops.door import backpressure, leaving, limits, sparing  # noqa: E402


def main(argv: Sequence[str]) -> None:
    """Ends at once, with a sentence, on a Daphne that we cannot limit."""
    door = CommandLineInterface()
    door.parser.add_argument("--body-max-bytes", type=int, default=limits.BODY_MAX_BYTES)
    door.parser.add_argument("--request-timeout-s", type=float, default=limits.REQUEST_TIMEOUT_S)
    door.parser.add_argument("--reader-patience-s", type=float, default=backpressure.PATIENCE_S)
    door.parser.add_argument("--finish-s", type=float, default=leaving.FINISH_S)
    options = door.parser.parse_args(argv)
    limits.limit_body(WebRequest, max_bytes=options.body_max_bytes)
    limits.limit_slowness(http.HTTPChannel, timeout_s=options.request_timeout_s)
    backpressure.wait_for_readers(Server, WebSocketProtocol, WebRequest, patience_s=options.reader_patience_s)
    leaving.leave_in_order(Server, WebSocketProtocol, reactor, finish_s=options.finish_s)
    sparing.spare_forms(http)
    sparing.spare_colours(protocol)
    door.run(argv)


if __name__ == "__main__":
    main(sys.argv[1:])
