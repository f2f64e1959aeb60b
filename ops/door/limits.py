"""How much one request may bring, and how slowly.

Daphne puts a whole request body into memory before the application sees the request, so
no limit of Django's protects it: 100 MB from a stranger took 1.2 GB. And Twisted's timeout
starts again with every byte, so a request that drips never ends. Open WebSockets and running
responses use none of the methods wrapped here.
"""

from typing import Any

from ops.door.wrapping import find_methods

# Django accepts 1 MiB (DATA_UPLOAD_MAX_MEMORY_SIZE) and says so kindly; this is for what is beyond any mistake.
BODY_MAX_BYTES = 2 * 1024 * 1024
REQUEST_TIMEOUT_S = 30.0
# A socket closed on unread bytes is reset, and the client never reads why.
LINGER_S = 5.0
REFUSAL = (
    b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Type: text/plain\r\n\r\n"
    b"That is too much to send at once.\n"
)


def limit_body(requests: Any, *, max_bytes: int) -> None:
    """Refuse a longer body with 413: by its announced length, else as soon as it is passed."""
    got_length, handle_chunk, receive = find_methods(requests, "gotLength", "handleContentChunk", "requestReceived")

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
    set_timeout, reset_timeout = find_methods(channels, "setTimeout", "resetTimeout")

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
