"""How this server talks to providers: guarded sessions, four timeouts, streams of server-sent events.

Connect 10 s; first token, silence and total from the settings. One timer a stream looks at a time stamp, because moving
a timer at every read is not free. Bodies are never decompressed: a provider that compresses unasked is refused, and with
it every compression bomb. What a provider says in an error may quote the conversation: the log gets its type and length.
"""

import asyncio
import logging
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakKeyDictionary

import aiohttp
from aiohttp.abc import AbstractResolver
from django.conf import settings
from yarl import URL

from providers import runtime
from providers.endpoints import Endpoint
from providers.errors import ProviderBroke, ProviderError, ProviderTimedOut, ProviderUnreachable
from providers.guard import GuardedResolver, Reach
from providers.sse import SseParser
from providers.statuses import build_error, parse_retry_after

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 10.0
LISTING_TIMEOUT_S = 20.0
ERROR_MAX_BYTES = 8 * 1024
LISTING_MAX_BYTES = 8 * 1024 * 1024
STREAM_MAX_BYTES = 64 * 1024 * 1024
DRAIN_TIMEOUT_S = 1.0
SAID_MAX_CHARACTERS = 400

_draining: set[asyncio.Task[None]] = set()


def open_session(reach: Reach, *, resolver: AbstractResolver | None = None) -> aiohttp.ClientSession:
    """A session whose connections only lead where `reach` allows. No redirects, cookies, proxies or .netrc."""
    guarded = GuardedResolver(reach=reach, resolver=resolver or aiohttp.ThreadedResolver())
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, resolver=guarded, use_dns_cache=False),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_TIMEOUT_S),
        auto_decompress=False,
        trust_env=False,
        headers={"User-Agent": "Chatbox", "Accept-Encoding": "identity"},
    )


_sessions: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Reach, aiohttp.ClientSession]] = WeakKeyDictionary()


def get_session(reach: Reach) -> aiohttp.ClientSession:
    """This loop's session for that reach. Each reach has its own connections: a pooled one was checked for no other."""
    sessions = _sessions.setdefault(asyncio.get_running_loop(), {})
    if reach not in sessions:
        sessions[reach] = open_session(reach)
    return sessions[reach]


@runtime.at_close
async def close_sessions() -> None:
    """Close what `get_session` opened on the running loop."""
    for session in _sessions.pop(asyncio.get_running_loop(), {}).values():
        await session.close()


class EventStream:
    """One response's events. `read` until None; leaving `open_stream` early closes the connection at once."""

    __slots__ = (
        "_content",
        "_deadline_at",
        "_failure",
        "_loop",
        "_parser",
        "_patience_s",
        "_response",
        "_timer",
        "_waiting_since",
    )

    def __init__(self, response: aiohttp.ClientResponse, *, deadline_at: float) -> None:
        self._response = response
        self._content = response.content
        self._parser = SseParser()
        self._loop = asyncio.get_running_loop()
        self._deadline_at = deadline_at
        self._patience_s = float(settings.REPLY_FIRST_TOKEN_TIMEOUT_S)
        self._waiting_since = math.inf
        self._failure: ProviderError | None = None
        self._timer = self._loop.call_at(min(deadline_at, self._loop.time() + self._patience_s), self._look)

    async def read(self) -> list[bytes] | None:
        """The next payloads, at least one; None at the end. Raises ProviderTimedOut, ProviderBroke."""
        while not self._parser.is_broken and self._content.total_bytes <= STREAM_MAX_BYTES:
            self._waiting_since = self._loop.time()
            try:
                chunk = await self._content.readany()
            except (aiohttp.ClientError, OSError, RuntimeError) as error:
                # Its text may quote the bytes that came, and those the conversation.
                raise self._failure or ProviderBroke(detail=f"connection lost: {type(error).__name__}") from None
            self._waiting_since = math.inf
            if not chunk:
                return self._parser.finish() or None
            if payloads := self._parser.feed(chunk):
                return payloads
        raise ProviderBroke(detail="a line or an answer that is too long")

    def mark_first_token(self) -> None:
        """From now on silence is judged by the shorter limit."""
        self._patience_s = float(settings.REPLY_IDLE_TIMEOUT_S)
        self._timer.cancel()
        self._look()

    def stop_watching(self) -> None:
        self._timer.cancel()

    def _look(self) -> None:
        now = self._loop.time()
        ends_at = min(self._deadline_at, self._waiting_since + self._patience_s)
        if ends_at > now:
            self._timer = self._loop.call_at(min(ends_at, now + self._patience_s), self._look)
            return
        late = "total deadline" if now >= self._deadline_at else f"silent for {self._patience_s:g} s"
        self._failure = ProviderTimedOut(detail=late)
        self._content.set_exception(aiohttp.SocketTimeoutError(late))
        self._response.close()


@asynccontextmanager
async def open_stream(
    endpoint: Endpoint, path: str, body: bytes, *, deadline_at: float, session: aiohttp.ClientSession | None = None
) -> AsyncIterator[EventStream]:
    """POST `body` (JSON) and hand out the events of a 200. `deadline_at` is the loop's time.

    Raises the errors of `providers.errors` by status; an error's `said` quotes the provider, without the key.
    """
    now = asyncio.get_running_loop().time()
    patient_until = min(deadline_at, now + settings.REPLY_FIRST_TOKEN_TIMEOUT_S)
    response = await _request(endpoint, "POST", path, body=body, until=patient_until, session=session)
    try:
        await _require_events(response, endpoint)
        stream = EventStream(response, deadline_at=deadline_at)
        try:
            yield stream
        finally:
            stream.stop_watching()
    except BaseException:
        response.close()
        raise
    _release(response)


async def fetch(endpoint: Endpoint, path: str, *, session: aiohttp.ClientSession | None = None) -> bytes:
    """GET a small document, whole. Raises like `open_stream`."""
    until = asyncio.get_running_loop().time() + LISTING_TIMEOUT_S
    response = await _request(endpoint, "GET", path, body=None, until=until, session=session)
    try:
        await _require_ok(response, endpoint)
        async with asyncio.timeout_at(until):
            data = await _read_up_to(response, LISTING_MAX_BYTES + 1)
    except TimeoutError as error:
        raise ProviderTimedOut(detail="the list took too long") from error
    except (aiohttp.ClientError, OSError) as error:
        raise ProviderBroke(detail=f"connection lost: {type(error).__name__}") from None
    finally:
        response.close()
    if len(data) > LISTING_MAX_BYTES:
        raise ProviderBroke(detail="the list is too large")
    return data


async def _request(
    endpoint: Endpoint,
    method: str,
    path: str,
    *,
    body: bytes | None,
    until: float,
    session: aiohttp.ClientSession | None,
) -> aiohttp.ClientResponse:
    """Up to the response's headers. The key goes to this URL and, with redirects off, to no other."""
    headers = {"Content-Type": "application/json"} if body is not None else {}
    if endpoint.api_key:
        headers["Authorization"] = f"Bearer {endpoint.api_key}"
    url = URL(endpoint.base_url.rstrip("/") + path, encoded=True)
    session = session or get_session(endpoint.reach)
    try:
        async with asyncio.timeout_at(until):
            return await session.request(method, url, data=body, headers=headers, allow_redirects=False)
    except TimeoutError as error:
        raise ProviderTimedOut(detail=f"no answer: {type(error).__name__}") from error
    except (aiohttp.ClientConnectionError, OSError) as error:
        raise ProviderUnreachable(detail=endpoint.redact(f"{type(error).__name__}: {error}")) from error
    except aiohttp.ClientError as error:
        raise ProviderBroke(detail=f"not HTTP: {type(error).__name__}") from error


async def _require_events(response: aiohttp.ClientResponse, endpoint: Endpoint) -> None:
    await _require_ok(response, endpoint)
    if response.content_type in {"text/html", "application/json"}:
        raise ProviderBroke(detail=f"no events: {_describe(response, await _read_beginning(response))}")


async def _require_ok(response: aiohttp.ClientResponse, endpoint: Endpoint) -> None:
    if response.status != 200:
        data = await _read_beginning(response)
        raise build_error(
            response.status,
            detail=_describe(response, data),
            said=endpoint.redact(" ".join(data.decode(errors="replace").split()))[:SAID_MAX_CHARACTERS],
            retry_after_s=parse_retry_after(response.headers.get("Retry-After", "")),
        )
    if (encoding := response.headers.get("Content-Encoding", "identity").lower()) != "identity":
        raise ProviderBroke(detail=f"compressed though we did not ask for it: {encoding[:40]}")


async def _read_beginning(response: aiohttp.ClientResponse) -> bytes:
    """Up to 8 KiB of a body that should not have come. Empty when it does not come."""
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            return await _read_up_to(response, ERROR_MAX_BYTES)
    except (TimeoutError, aiohttp.ClientError, OSError):
        return b""


def _describe(response: aiohttp.ClientResponse, data: bytes) -> str:
    """All that a log may know of a body."""
    size = f"{len(data)} bytes" if len(data) < ERROR_MAX_BYTES else f"{ERROR_MAX_BYTES} bytes or more"
    return f"{response.content_type[:60]}, {size}"


async def _read_up_to(response: aiohttp.ClientResponse, limit_bytes: int) -> bytes:
    data = bytearray()
    while len(data) < limit_bytes and (chunk := await response.content.readany()):
        data += chunk
    return bytes(data[:limit_bytes])


def _release(response: aiohttp.ClientResponse) -> None:
    """Keep the connection for the next call if the response is over, or will be in a moment."""
    if response.content.at_eof():
        response.release()
        return
    task = asyncio.get_running_loop().create_task(_drain(response))
    _draining.add(task)
    task.add_done_callback(_draining.discard)


async def _drain(response: aiohttp.ClientResponse) -> None:
    """Many servers send the end of the body in a packet of its own, just after the last event."""
    try:
        async with asyncio.timeout(DRAIN_TIMEOUT_S):
            await _read_up_to(response, ERROR_MAX_BYTES)
    except (TimeoutError, aiohttp.ClientError, OSError):
        log.debug("connection not reusable")
    finally:
        response.release()
