"""The OpenAI chat completions protocol, as OpenAI, llama.cpp, vLLM, Ollama and most gateways speak it.

https://platform.openai.com/docs/api-reference/chat-streaming. Reading one token costs a few microseconds here: payloads
are decoded straight into typed structs, and what we do not use is not decoded at all.
"""

import logging
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from typing import Any

import msgspec

from providers.adapters.base import Call
from providers.endpoints import Endpoint
from providers.errors import ProviderBroke, ProviderError, RequestRejected
from providers.http import EventStream, fetch, open_stream
from providers.statuses import build_error
from providers.types import Done, Event, ModelListing, ReasoningDelta, TextDelta, Usage

log = logging.getLogger(__name__)

PATH = "/chat/completions"
BAD_FRAMES_MAX = 3
REASON_MAX_CHARACTERS = 40
NAME_MAX_CHARACTERS = 200
COUNT_MAX = 2**31 - 1  # of a PositiveIntegerField
# Not UTF-8, not JSON, not the protocol, or nested so deeply that reading it would take the stack.
UNREADABLE = (msgspec.DecodeError, ValueError, RecursionError)
# Not for `extra_parameters` to change: the rest of the code relies on them.
FIXED_PARAMETERS = frozenset({"model", "messages", "stream", "n"})
END = b"[DONE]"


class _Delta(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: Any = None


class _Listed(msgspec.Struct):
    id: str
    name: str | None = None
    context_length: int | None = None  # OpenRouter and others
    max_model_len: int | None = None  # vLLM
    meta: dict[str, Any] | None = None  # llama.cpp
    owned_by: str | None = None


class _Listing(msgspec.Struct):
    data: list[_Listed]


_decode_chunk = msgspec.json.Decoder(_Chunk).decode
_decode_listing = msgspec.json.Decoder(_Listing).decode
# Servers that refused `stream_options`, or want the newer name of `max_tokens`: base URL and model, as far as this
# process has learnt.
_without_usage: set[tuple[str, str]] = set()
_with_new_limit: set[tuple[str, str]] = set()


async def stream(call: Call, *, deadline_at: float) -> AsyncGenerator[Event, None]:
    """See `WireProtocol`."""
    async with AsyncExitStack() as stack:
        reader = _Reader(await _open(stack, call, deadline_at))
        while batch := await reader.read():
            for event in batch:
                yield event
    for event in reader.end():
        yield event


async def _open(stack: AsyncExitStack, call: Call, deadline_at: float) -> EventStream:
    """A server that rejects a parameter we can do without is asked again without it."""
    learnt: set[str] = set()
    while True:
        try:
            return await stack.enter_async_context(open_stream(call.endpoint, PATH, build_body(call), deadline_at=deadline_at))
        except RequestRejected as error:
            if not _learn(call, error.said, learnt):
                raise


class _Batch:
    """What came in one piece: text in a row is one delta, however many tokens it is."""

    __slots__ = ("_kind", "_pieces", "events")

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._kind: type[TextDelta | ReasoningDelta] = TextDelta
        self._pieces: list[str] = []

    def add(self, kind: type[TextDelta | ReasoningDelta], text: str) -> None:
        if kind is not self._kind:
            self.close()
            self._kind = kind
        self._pieces.append(text)

    def close(self) -> None:
        if self._pieces:
            self.events.append(self._kind("".join(self._pieces)))
            self._pieces = []


class _Reader:
    """The state of one answer: what was counted, why it stopped, how much was unreadable."""

    __slots__ = ("_bad_frames", "_error", "_events", "_has_begun", "_is_over", "_reason", "_usage")

    def __init__(self, events: EventStream) -> None:
        self._events = events
        self._has_begun = False
        self._is_over = False
        self._bad_frames = 0
        self._error: ProviderError | None = None
        self._usage: _Usage | None = None
        self._reason = ""

    async def read(self) -> list[Event]:
        """What came next, at least one event; empty at the end. Text before an error is given before it is raised."""
        batch = _Batch()
        while not batch.events:
            if self._error is not None:
                raise self._error
            if self._is_over:
                break
            payloads = await self._events.read()
            if payloads is None:
                if not self._reason:
                    raise ProviderBroke(detail="the stream ended without an end")
                break
            self._take(payloads, batch)
            batch.close()
        if batch.events and not self._has_begun:
            self._has_begun = True
            self._events.mark_first_token()
        return batch.events

    def _take(self, payloads: list[bytes], batch: _Batch) -> None:
        try:
            for payload in payloads:
                if payload == END:
                    self._is_over = True
                    return
                self._take_one(payload, batch)
        except ProviderError as error:
            self._error = error

    def _take_one(self, payload: bytes, batch: _Batch) -> None:
        try:
            chunk = _decode_chunk(payload)
        except UNREADABLE as error:
            self._skip(payload, error)
            return
        if chunk.error:
            raise _build_error(chunk.error)
        if chunk.usage is not None:
            self._usage = chunk.usage
        for choice in chunk.choices or ():
            if delta := choice.delta:
                if thought := delta.reasoning_content or delta.reasoning:
                    batch.add(ReasoningDelta, thought)
                if delta.content:
                    batch.add(TextDelta, delta.content)
            if choice.finish_reason:
                self._reason = _clean(choice.finish_reason, REASON_MAX_CHARACTERS) or "unknown"

    def end(self) -> list[Event]:
        done = Done(self._reason or "stop")
        usage = self._usage
        if usage is None or usage.prompt_tokens is None or usage.completion_tokens is None:
            return [done]
        return [Usage(_clamp(usage.prompt_tokens), _clamp(usage.completion_tokens)), done]

    def _skip(self, payload: bytes, error: Exception) -> None:
        """One unreadable frame costs its text; several mean that this is not the protocol."""
        self._bad_frames += 1
        log.warning("unreadable frame from a provider: %s, %d bytes", type(error).__name__, len(payload))
        if self._bad_frames >= BAD_FRAMES_MAX:
            raise ProviderBroke(detail=f"{self._bad_frames} unreadable frames") from error


def _build_error(error: Any) -> ProviderError:
    """An error in the stream: {"message", "code": 429 or "rate_limit_exceeded", "type"}, or only a text."""
    fields = error if isinstance(error, dict) else {}
    code = fields.get("code") or fields.get("status")
    if any("rate_limit" in name for name in (code, fields.get("type")) if isinstance(name, str)):
        code = 429
    if isinstance(code, str) and len(code) == 3 and code.isdecimal():
        code = int(code)
    return build_error(code if isinstance(code, int) and 400 <= code < 600 else 500, detail="in the stream")


def _clean(text: str | None, limit: int) -> str:
    """What can be shown and stored of the text's first `limit` characters."""
    return "".join(filter(str.isprintable, (text or "")[:limit]))


def _clamp(count: int) -> int:
    return min(max(0, count), COUNT_MAX)


def build_body(call: Call) -> bytes:
    """The request. The row's parameters win over ours, except for those that make it our request at all."""
    place = (call.endpoint.base_url, call.model)
    body: dict[str, Any] = {
        "model": call.model,
        "messages": [{"role": turn.role, "content": turn.text} for turn in call.turns],
        "stream": True,
    }
    limit = "max_completion_tokens" if place in _with_new_limit else "max_tokens"
    if "max_completion_tokens" not in call.parameters:
        body[limit] = call.max_output_tokens
    if place not in _without_usage:
        body["stream_options"] = {"include_usage": True}
    body |= {name: value for name, value in call.parameters.items() if name not in FIXED_PARAMETERS}
    return msgspec.json.encode({name: value for name, value in body.items() if value is not None})


def _learn(call: Call, said: str, learnt: set[str]) -> bool:
    """Does this refusal name a parameter that we can send otherwise? True once each for one call."""
    place = (call.endpoint.base_url, call.model)
    for word, known in (("stream_options", _without_usage), ("max_completion_tokens", _with_new_limit)):
        if word in said and word not in learnt:
            known.add(place)
            learnt.add(word)
            return True
    return False


async def list_models(endpoint: Endpoint) -> list[ModelListing]:
    """See `WireProtocol`."""
    try:
        listed = _decode_listing(await fetch(endpoint, "/models")).data
    except UNREADABLE as error:
        raise ProviderBroke(detail="the list of models is unreadable") from error
    listings = {one.id: _build_listing(one) for one in listed if _is_usable(one.id)}
    return [listings[name] for name in sorted(listings)]


def _is_usable(name: str) -> bool:
    return bool(name.strip()) and name.isprintable() and len(name) <= NAME_MAX_CHARACTERS


def _build_listing(listed: _Listed) -> ModelListing:
    size = listed.context_length or listed.max_model_len or (listed.meta or {}).get("n_ctx_train")
    return ModelListing(
        name=listed.id,
        label=_clean(listed.name, 120),
        context_tokens=_clamp(size) if isinstance(size, int) and size > 0 else None,
        details={"owned by": _clean(listed.owned_by, 120)} if listed.owned_by else {},
    )
