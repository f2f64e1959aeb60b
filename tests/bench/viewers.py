"""The other end: people who ask and watch, in a process of their own so that their cost is nobody else's.

Its input's first line is a `Job`. It says `ready` with all sockets open, starts at `go`, says `streamed` at the end of the last
reply, compares texts at `check`, and prints the `Seen` of every stream as JSON.
"""

import asyncio
import sys
import time
from typing import Any, Literal

import aiohttp
import msgspec

from conversations.rendering import apply_ops, render_blocks
from tests.bench.api import Person, open_session, read_upstream
from tests.bench.orders import Order
from tests.bench.text import find_stamps, read_clock, read_stamp

PATIENCE_S = 60  # beyond the time that the upstream takes
RELAY_END = '{"end":true}'


class Job(msgspec.Struct, kw_only=True):
    """`name` is part of the orders' keys. `is_exact`: each stream has a viewer of text and one of HTML, both compared whole."""

    target: Literal["product", "relay"]
    address: str
    upstream: str
    name: str
    streams: int
    tokens: int
    rate: float
    ramp_s: float
    bearers: list[str] = []
    is_exact: bool = False

    def build_order(self, number: int) -> Order:
        return Order(key=f"{self.name}-{number}", tokens=self.tokens, rate=self.rate)


class Seen(msgspec.Struct, kw_only=True):
    """What one stream looked like. `latencies` are tenths of a millisecond. `problem`: empty when every byte came."""

    added_ms: float
    latencies: list[int]
    frames: int
    resyncs: int
    tokens: int
    problem: str


read_seen = msgspec.json.Decoder(list[Seen]).decode
read_job = msgspec.json.Decoder(Job).decode


class Tape:
    """Frames as they come. A stamp counts once: frames may show text again that they show afresh."""

    def __init__(self, *, keeps: bool) -> None:
        self.latencies: list[int] = []
        self.first_ns = 0
        self.count = 0
        self.resyncs = 0
        self._keeps = keeps
        self._frames: list[str] = []
        self._last = 0

    @property
    def kept(self) -> list[dict[str, Any]]:
        """Read only now, so that it costs no token's latency."""
        return [msgspec.json.decode(frame) for frame in self._frames]

    @property
    def size_bytes(self) -> int:
        return sum(len(frame.encode()) for frame in self._frames)

    def hear(self, frame: str) -> None:
        self.count += 1
        now = read_clock()
        for digits in find_stamps(frame):
            moment = read_stamp(digits, now=now)
            if moment > self._last:
                self._last = moment
                self.latencies.append(now - moment)
        if self.latencies and not self.first_ns:
            self.first_ns = time.monotonic_ns()
        if frame.startswith('{"type":"reply.snapshot"'):
            self.resyncs += 1
        if self._keeps:
            self._frames.append(frame)


class RelayStream:
    def __init__(self, job: Job, number: int, session: aiohttp.ClientSession) -> None:
        self._order = job.build_order(number)
        self._session = session
        self.tape = Tape(keeps=True)

    async def open(self) -> None:
        self._socket = await self._session.ws_connect("/ws", max_msg_size=0)

    async def run(self) -> None:
        await self._socket.send_str(self._order.question)
        async for message in self._socket:
            if message.data == RELAY_END:
                return
            self.tape.hear(message.data)

    async def find_problem(self, expected: str) -> str:
        await self._socket.close()
        return "" if "".join(frame["text"] for frame in self.tape.kept) == expected else "the relay's text differs"


class ProductStream:
    """A person asks in a new conversation and watches it as the page does."""

    def __init__(self, job: Job, number: int, session: aiohttp.ClientSession) -> None:
        self._order = job.build_order(number)
        self._person = Person(session, job.bearers[number])
        self._formats = ["html", "text"] if job.is_exact else ["html"]
        self._reply = ""
        self._tapes = {wanted: Tape(keeps=job.is_exact) for wanted in self._formats}
        self.tape = self._tapes["html"]

    async def open(self) -> None:
        self._conversation: str = await self._person.create_conversation()
        self._sockets = {wanted: await self._person.watch(self._conversation, wanted) for wanted in self._formats}

    async def run(self) -> None:
        await asyncio.gather(self._ask(), *(self._watch(wanted) for wanted in self._formats))

    async def _ask(self) -> None:
        self._reply = await self._person.send(self._conversation, self._order)

    async def _watch(self, wanted: str) -> None:
        async for message in self._sockets[wanted]:
            self._tapes[wanted].hear(message.data)
            if message.data.startswith('{"type":"reply.finished"'):
                return
        raise ConnectionError(f"socket closed with {self._sockets[wanted].close_code}")

    async def find_problem(self, expected: str) -> str:
        for socket in self._sockets.values():
            await socket.close()
        stored = await self._person.read(self._reply)
        if stored["state"] != "done" or stored["text"] != expected:
            return f"the stored text differs ({stored['state']}, {len(stored['text'])} of {len(expected)} characters)"
        if "text" in self._tapes and join_text(self._tapes["text"].kept) != expected:
            return "the text on the socket differs"
        if (frames := self.tape.kept) and join_html(frames) != render_blocks(expected):
            return "the HTML on the socket differs"
        return ""


Stream = RelayStream | ProductStream


def join_text(frames: list[dict[str, Any]]) -> str:
    text = ""
    for frame in frames:
        if frame["type"] == "reply.snapshot":
            text = frame["parts"]["text"]
        elif frame["type"] == "reply.delta" and frame["at"] == len(text):
            text += frame["text"]
    return text


def join_html(frames: list[dict[str, Any]]) -> list[str]:
    blocks: list[str] = []
    for frame in frames:
        blocks = frame.get("html", blocks)
        blocks = apply_ops(blocks, frame.get("ops", ()))
    return blocks


async def watch(job: Job) -> list[Seen]:
    async with open_session(job.address) as session:
        kind = RelayStream if job.target == "relay" else ProductStream
        streams: list[Stream] = [kind(job, number, session) for number in range(job.streams)]
        for stream in streams:
            await stream.open()
        await meet("ready")
        async with asyncio.timeout(job.ramp_s + job.tokens / job.rate + PATIENCE_S):
            outcomes = await asyncio.gather(*(start(job, number, stream) for number, stream in enumerate(streams)))
        await meet("streamed")
        return [await compare(job, session, number, streams[number], outcomes[number]) for number in range(job.streams)]


async def meet(word: str) -> None:
    """Say the word and wait for the answer. An input that is closed: nobody waits for us any more."""
    print(word, flush=True)
    if not await asyncio.to_thread(sys.stdin.readline):
        raise SystemExit(1)


async def start(job: Job, number: int, stream: Stream) -> tuple[int, str]:
    """Begin at its share of the ramp. When it began, and what went wrong."""
    await asyncio.sleep(job.ramp_s * number / job.streams)
    began_ns = time.monotonic_ns()
    try:
        await stream.run()
    except (aiohttp.ClientError, AssertionError, OSError) as error:
        return began_ns, f"{type(error).__name__}: {error}"
    return began_ns, ""


async def compare(job: Job, session: aiohttp.ClientSession, number: int, stream: Stream, outcome: tuple[int, str]) -> Seen:
    began_ns, problem = outcome
    tape = stream.tape
    call = await read_upstream(session, job.upstream, job.build_order(number).key)
    problem = problem or await stream.find_problem(call.text)
    if not len(tape.latencies) == call.tokens == job.tokens:
        problem = problem or f"{len(tape.latencies)} tokens came, {call.tokens} of {job.tokens} were written"
    return Seen(
        added_ms=(tape.first_ns - began_ns) / 1e6 - call.delay_ms,
        latencies=tape.latencies,
        frames=tape.count,
        resyncs=tape.resyncs,
        tokens=call.tokens,
        problem=problem,
    )


def main() -> None:
    seen = asyncio.run(watch(read_job(sys.stdin.readline())))
    print(msgspec.json.encode(seen).decode(), flush=True)


if __name__ == "__main__":
    main()
