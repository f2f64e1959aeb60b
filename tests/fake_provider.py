"""A scripted provider: a real HTTP server on loopback that speaks the OpenAI protocol and records every call.

In a test: `with FakeProvider() as fake: fake.script(text="Hello")`. As a process, for fault tests and measurements:
`python -m tests.fake_provider --port 9000`; there `POST /script` takes a `Script` as JSON and `GET /calls` tells what
came.
"""

import argparse
import asyncio
import json
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web
from django.apps import apps

from providers.guard import parse_url

if TYPE_CHECKING:  # as a process of its own this needs no database
    from providers.models import ChatModel, Provider

KEY = "sk-fake-canary-key-0123456789"
START_TIMEOUT_S = 10


@dataclass(kw_only=True)
class Script:
    """How to answer one call. Without `text` the answer echoes the question in Markdown.

    raw: the body's pieces instead of a protocol answer. status ≠ 200: `body` is the answer. hang: say nothing at all.
    hang_after: this many pieces, then silence. cut_after: end the connection after so many bytes of body. refuses: a
    parameter this server does not know.
    """

    text: str | None = None
    reasoning: str = ""
    chunk: int = 12
    first_delay_s: float = 0.0
    delay_s: float = 0.0
    usage: bool = True
    finish: str | None = "stop"
    done: bool = True
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: str = '{"error": {"message": "scripted"}}'
    content_type: str = "text/event-stream"
    raw: Sequence[bytes] | None = None
    hang: bool = False
    hang_after: int | None = None
    cut_after: int | None = None
    refuses: str | None = None
    model: str | None = None


@dataclass
class RecordedCall:
    """One request. `peer`: the caller's address and port. Times: monotonic seconds. `is_cut`: the client left early."""

    method: str
    path: str
    headers: dict[str, str]
    json: dict[str, Any]
    peer: str
    connected_at: float
    closed_at: float | None = None
    is_cut: bool = False
    sent: int = 0
    closed: threading.Event = field(default_factory=threading.Event, repr=False)

    def wait_closed(self, timeout_s: float = 5.0) -> None:
        assert self.closed.wait(timeout_s), "the connection is still open"


class FakeProvider:
    """Serves from a thread of its own between `with` and its end. `port` 0: any free one."""

    def __init__(
        self, *, port: int = 0, default: Script | None = None, models: Sequence[str] = ("fake-small", "fake-large")
    ) -> None:
        self.port = port
        self.models = models
        self.calls: list[RecordedCall] = []
        self.default = default or Script()
        self._queue: deque[Script] = deque()
        self._by_model: dict[str, Script] = {}
        self._changed = threading.Condition()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def script(self, **fields: Any) -> None:
        """Script the next call; with `model`, every call of that model."""
        script = Script(**fields)
        if script.model:
            self._by_model[script.model] = script
        else:
            self._queue.append(script)

    def wait_for_calls(self, count: int = 1, timeout_s: float = 5.0) -> RecordedCall:
        """Wait until so many calls have come and return the last of them."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.calls) >= count, timeout_s), f"{len(self.calls)} of {count} calls"
            return self.calls[count - 1]

    def __enter__(self) -> "FakeProvider":
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fake-provider", daemon=True)
        self._thread.start()
        self._runner = asyncio.run_coroutine_threadsafe(self.start(), self._loop).result(START_TIMEOUT_S)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(START_TIMEOUT_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(START_TIMEOUT_S)
        self._loop.close()

    async def start(self) -> web.AppRunner:
        application = web.Application(client_max_size=64 * 1024 * 1024)
        application.router.add_post("/v1/chat/completions", self._answer)
        application.router.add_get("/v1/models", self._list_models)
        application.router.add_post("/script", self._take_script)
        application.router.add_get("/calls", self._list_calls)
        application.router.add_route("*", "/{anything:.*}", self._record_stray)
        runner = web.AppRunner(application, handler_cancellation=True, access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port)
        await site.start()
        self.port = runner.addresses[0][1]
        return runner

    def _record(self, request: web.Request, body: dict[str, Any]) -> RecordedCall:
        host, port = request.transport.get_extra_info("peername")[:2] if request.transport else ("", 0)
        call = RecordedCall(request.method, request.path, dict(request.headers), body, f"{host}:{port}", time.monotonic())
        with self._changed:
            self.calls.append(call)
            self._changed.notify_all()
        return call

    def _choose(self, model: str) -> Script:
        if model in self._by_model:
            return self._by_model[model]
        return self._queue.popleft() if self._queue else self.default

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        call = self._record(request, body)
        try:
            return await _play(self._choose(body.get("model", "")), request, call)
        except (asyncio.CancelledError, ConnectionResetError):
            call.is_cut = True
            raise
        finally:
            call.closed_at = time.monotonic()
            call.closed.set()

    async def _list_models(self, request: web.Request) -> web.Response:
        self._record(request, {}).closed.set()
        data = [{"id": name, "object": "model", "owned_by": "fake", "max_model_len": 8192} for name in self.models]
        script = self._queue.popleft() if self._queue else None
        if script:
            return web.Response(
                status=script.status, text=script.body, headers=script.headers, content_type=script.content_type
            )
        return web.json_response({"object": "list", "data": data})

    async def _record_stray(self, request: web.Request) -> web.Response:
        self._record(request, {}).closed.set()
        return web.Response(status=404, text="not here")

    async def _take_script(self, request: web.Request) -> web.Response:
        self.script(**await request.json())
        return web.Response(status=204)

    async def _list_calls(self, _request: web.Request) -> web.Response:
        names = ("json", "connected_at", "closed_at", "is_cut", "sent")
        return web.json_response([{name: getattr(call, name) for name in names} for call in self.calls])


async def _play(script: Script, request: web.Request, call: RecordedCall) -> web.StreamResponse:
    if script.hang:
        await asyncio.Event().wait()
    await asyncio.sleep(script.first_delay_s)
    if script.refuses in call.json:
        return web.json_response({"error": {"message": f"Unknown parameter: {script.refuses}"}}, status=400)
    if script.status != 200:
        return web.Response(status=script.status, text=script.body, headers=script.headers)
    response = web.StreamResponse(headers={"Content-Type": script.content_type} | script.headers)
    await response.prepare(request)
    sent_bytes, next_at = 0, time.monotonic()
    for number, piece in enumerate(build_pieces(script, call.json)):
        if script.hang_after == number:
            await asyncio.Event().wait()
        if script.cut_after is not None and sent_bytes + len(piece) >= script.cut_after:
            await _cut(response, request, piece[: script.cut_after - sent_bytes])
            return response
        await response.write(piece)
        sent_bytes, call.sent = sent_bytes + len(piece), number + 1
        next_at += script.delay_s
        await asyncio.sleep(max(0.0, next_at - time.monotonic()))
    await response.write_eof()
    return response


async def _cut(response: web.StreamResponse, request: web.Request, rest: bytes) -> None:
    """Send the rest, then end the connection in the middle of the chunked body."""
    if rest:
        await response.write(rest)
    if request.transport is not None:
        request.transport.close()


def build_pieces(script: Script, body: dict[str, Any]) -> Iterator[bytes]:
    """The body of the answer, as written to the network one by one."""
    if script.raw is not None:
        yield from script.raw
        return
    text = build_echo(body) if script.text is None else script.text
    yield build_chunk({"role": "assistant", "content": ""})
    for start in range(0, len(script.reasoning), script.chunk):
        yield build_chunk({"reasoning_content": script.reasoning[start : start + script.chunk]})
    for start in range(0, len(text), script.chunk):
        yield build_chunk({"content": text[start : start + script.chunk]})
    if script.finish:
        yield build_chunk({}, finish=script.finish)
    if script.usage:
        prompt = sum(len(message["content"]) for message in body.get("messages", []))
        yield build_usage(prompt_tokens=-(-prompt // 4), completion_tokens=-(-len(text) // 4))
    if script.done:
        yield b"data: [DONE]\n\n"


def build_echo(body: dict[str, Any]) -> str:
    question = next((turn["content"] for turn in reversed(body.get("messages", [])) if turn["role"] == "user"), "")
    code = f"```python\nprint({question[:40]!r})\n```"
    return f"You asked:\n\n> {question}\n\n**Here is an answer** with `code`:\n\n{code}\n"


def build_chunk(delta: dict[str, Any], *, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    frame = {
        "id": "chatcmpl-fake",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "fake",
        "choices": [choice],
    }
    return b"data: " + json.dumps(frame, ensure_ascii=False).encode() + b"\n\n"


def build_usage(*, prompt_tokens: int, completion_tokens: int) -> bytes:
    usage = {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }
    frame = {
        "id": "chatcmpl-fake",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "fake",
        "choices": [],
        "usage": usage,
    }
    return b"data: " + json.dumps(frame).encode() + b"\n\n"


def make_provider(fake: FakeProvider, **fields: Any) -> "Provider":
    """A provider's row for the fake, with a key that is bound to it."""
    base_url = str(fields.pop("base_url", fake.base_url))
    values: dict[str, Any] = {
        "name": f"Fake {fake.port}",
        "base_url": base_url,
        "api_key": KEY,
        "api_key_origin": parse_url(base_url).origin,
        "allow_private_address": True,
    }
    return apps.get_model("providers", "Provider")._default_manager.create(**values | fields)


def make_model(fake: FakeProvider, *, provider: "Provider | None" = None, **fields: Any) -> "ChatModel":
    """A model's row of the fake; its provider is made when it is not given."""
    values: dict[str, Any] = {"name": "fake-small", "label": "Fake", "provider": provider or make_provider(fake)}
    return apps.get_model("providers", "ChatModel")._default_manager.create(**values | fields)


def main() -> None:
    parser = argparse.ArgumentParser(description="A scripted provider on loopback.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--text", help="what to answer; without it the question is echoed")
    parser.add_argument("--chunk", type=int, default=12)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds between two pieces")
    parser.add_argument("--first-delay", type=float, default=0.0)
    options = parser.parse_args()
    script = Script(text=options.text, chunk=options.chunk, delay_s=options.delay, first_delay_s=options.first_delay)
    asyncio.run(_serve(FakeProvider(port=options.port, default=script)))


async def _serve(fake: FakeProvider) -> None:
    await fake.start()
    print(fake.base_url, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    main()
