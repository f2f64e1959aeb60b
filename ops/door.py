"""The front door: Daphne with a limit on how much one request may bring, and how slowly.

Daphne puts a whole request body into memory before the application sees the request, so
no limit of Django's protects it: 100 MB from a stranger took 1.2 GB. And Twisted's timeout
starts again with every byte, so a request that drips never ends. Daphne has options for
neither, hence the five methods wrapped here; open WebSockets and running responses use none
of them. Read against Daphne 4.2.3 and Twisted 26.10.
"""

import sys
from collections.abc import Sequence
from typing import Any

import uvloop
from twisted.internet import asyncioreactor

# Before everything else of Twisted and Daphne: who asks for a reactor first, chooses it. Daphne keeps ours.
asyncioreactor.install(uvloop.new_event_loop())  # type: ignore[no-untyped-call]

from daphne.cli import CommandLineInterface  # noqa: E402
from daphne.http_protocol import WebRequest  # noqa: E402
from twisted.web.http import HTTPChannel  # noqa: E402

# Django accepts 1 MiB (DATA_UPLOAD_MAX_MEMORY_SIZE) and says so kindly; this is for what is beyond any mistake.
BODY_MAX_BYTES = 2 * 1024 * 1024
REQUEST_TIMEOUT_S = 30.0
# A socket closed on unread bytes is reset, and the client never reads why.
LINGER_S = 5.0
REFUSAL = (
    b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Type: text/plain\r\n\r\n"
    b"That is too much to send at once.\n"
)


def main(argv: Sequence[str]) -> None:
    """Serve with Daphne's own arguments. Ends at once, with a sentence, on a Daphne that we cannot limit."""
    door = CommandLineInterface()
    door.parser.add_argument("--body-max-bytes", type=int, default=BODY_MAX_BYTES)
    door.parser.add_argument("--request-timeout-s", type=float, default=REQUEST_TIMEOUT_S)
    options = door.parser.parse_args(argv)
    limit_body(WebRequest, max_bytes=options.body_max_bytes)
    limit_slowness(HTTPChannel, timeout_s=options.request_timeout_s)
    door.run(argv)


def limit_body(requests: Any, *, max_bytes: int) -> None:
    """Refuse a longer body with 413: by its announced length, else as soon as it is passed."""
    got_length, handle_chunk, receive = _find_methods(requests, "gotLength", "handleContentChunk", "requestReceived")

    def check_length(request: Any, length: int | None) -> None:
        got_length(request, length)
        if length is not None and length > max_bytes:
            _refuse(request)

    def check_chunk(request: Any, data: bytes) -> None:
        if not request.is_refused and request.content.tell() + len(data) > max_bytes:
            _refuse(request)
        if not request.is_refused:
            handle_chunk(request, data)

    def receive_unrefused(request: Any, *line: bytes) -> None:
        if not request.is_refused:
            receive(request, *line)

    requests.is_refused = False
    requests.gotLength, requests.handleContentChunk, requests.requestReceived = check_length, check_chunk, receive_unrefused


def limit_slowness(channels: Any, *, timeout_s: float) -> None:
    """Close a connection whose request is not complete `timeout_s` after its first byte."""
    set_timeout, reset_timeout = _find_methods(channels, "setTimeout", "resetTimeout")

    def set_limit(channel: Any, period: float | None) -> Any:
        channel.has_begun = False  # set before the first byte of every request, to None while it is answered
        return set_timeout(channel, None if period is None else timeout_s)

    def reset_once(channel: Any) -> None:
        if not channel.has_begun:
            channel.has_begun = True
            reset_timeout(channel)

    channels.has_begun = False
    channels.setTimeout, channels.resetTimeout = set_limit, reset_once


def _refuse(request: Any) -> None:
    """Answer, keep nothing, and read past what is still coming until the client or LINGER_S ends it."""
    request.is_refused = True
    request.content.close()
    request.requestHeaders.removeHeader(b"Expect")  # or "100 Continue" would follow
    request.channel.dataReceived = lambda _data: None
    request.transport.write(REFUSAL)
    request.transport.loseWriteConnection()
    request.channel.callLater(LINGER_S, request.transport.abortConnection)


def _find_methods(owner: Any, *names: str) -> list[Any]:
    if missing := [name for name in names if not hasattr(owner, name)]:
        raise SystemExit(f"ops.door cannot limit requests with this Daphne: {owner.__name__} has no {', '.join(missing)}.")
    return [getattr(owner, name) for name in names]


if __name__ == "__main__":
    main(sys.argv[1:])
