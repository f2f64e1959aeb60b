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
        reader = _Reader(call.endpoint, await _open(stack, call, deadline_at))
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
            if not _learn(call, error.detail, learnt):
                raise


class _Reader:
    """The state of one answer: what was counted, why it stopped, how much was unreadable."""

    __slots__ = ("_bad_frames", "_endpoint", "_error", "_events", "_has_begun", "_is_over", "_reason", "_usage")

    def __init__(self, endpoint: Endpoint, events: EventStream) -> None:
        self._endpoint = endpoint
        self._events = events
        self._has_begun = False
        self._is_over = False
        self._bad_frames = 0
        self._error: ProviderError | None = None
        self._usage: _Usage | None = None
        self._reason = ""

    async def read(self) -> list[Event]:
        """What came next, at least one event; empty at the end. Text before an error is given before it is raised."""
        batch: list[Event] = []
        while not batch:
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
        if batch and not self._has_begun:
            self._has_begun = True
            self._events.mark_first_token()
        return batch

    def _take(self, payloads: list[bytes], batch: list[Event]) -> None:
        try:
            for payload in payloads:
                if payload == END:
                    self._is_over = True
                    return
                self._take_one(payload, batch)
        except ProviderError as error:
            self._error = error

    def _take_one(self, payload: bytes, batch: list[Event]) -> None:
        try:
            chunk = _decode_chunk(payload)
        except (msgspec.DecodeError, ValueError) as error:
            self._skip(payload, error)
            return
        if chunk.error:
            raise self._build_error(chunk.error)
        if chunk.usage is not None:
            self._usage = chunk.usage
        for choice in chunk.choices or ():
            if delta := choice.delta:
                if thought := delta.reasoning_content or delta.reasoning:
                    batch.append(ReasoningDelta(thought))
                if delta.content:
                    batch.append(TextDelta(delta.content))
            if choice.finish_reason:
                self._reason = choice.finish_reason

    def end(self) -> list[Event]:
        done = Done(self._reason or "stop")
        usage = self._usage
        if usage is None or usage.prompt_tokens is None or usage.completion_tokens is None:
            return [done]
        return [Usage(max(0, usage.prompt_tokens), max(0, usage.completion_tokens)), done]

    def _skip(self, payload: bytes, error: Exception) -> None:
        """One unreadable frame costs its text; several mean that this is not the protocol."""
        self._bad_frames += 1
        excerpt = self._endpoint.redact(payload[:80].decode(errors="replace"))
        log.warning("unreadable frame from a provider: %s: %s", error, excerpt)
        if self._bad_frames >= BAD_FRAMES_MAX:
            raise ProviderBroke(detail=f"{self._bad_frames} unreadable frames") from error

    def _build_error(self, error: Any) -> ProviderError:
        """An error in the stream: {"message", "code": 429 or "rate_limit_exceeded", "type"}, or only a text."""
        fields = error if isinstance(error, dict) else {"message": error}
        code = fields.get("code") or fields.get("status")
        text = self._endpoint.redact(str(fields.get("message", "")))[:400]
        if isinstance(code, str) and code.isdecimal():
            code = int(code)
        if "rate_limit" in f"{code} {fields.get('type')}":
            code = 429
        return build_error(code if isinstance(code, int) and 400 <= code < 600 else 500, text=f"in the stream: {text}")


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


def _learn(call: Call, detail: str, learnt: set[str]) -> bool:
    """Does this refusal name a parameter that we can send otherwise? True once each for one call."""
    place = (call.endpoint.base_url, call.model)
    for word, known in (("stream_options", _without_usage), ("max_completion_tokens", _with_new_limit)):
        if word in detail and word not in learnt:
            known.add(place)
            learnt.add(word)
            return True
    return False


async def list_models(endpoint: Endpoint) -> list[ModelListing]:
    """See `WireProtocol`."""
    try:
        listed = _decode_listing(await fetch(endpoint, "/models")).data
    except (msgspec.DecodeError, ValueError) as error:
        raise ProviderBroke(detail="the list of models is unreadable") from error
    return sorted((_build_listing(one) for one in listed), key=lambda listing: listing.name)


def _build_listing(listed: _Listed) -> ModelListing:
    size = listed.context_length or listed.max_model_len or (listed.meta or {}).get("n_ctx_train")
    return ModelListing(
        name=listed.id[:200],
        label=(listed.name or "")[:120],
        context_tokens=size if isinstance(size, int) and size > 0 else None,
        details={"owned by": listed.owned_by[:120]} if listed.owned_by else {},
    )
