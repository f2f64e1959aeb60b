"""A crowd that watches a few conversations, in a process of its own; in some rounds with somebody among them who does not read.

Its input's first line is a `Crowd`, and each line after it a `Round`: everybody connects afresh, so that all rounds have
sockets of the same age. It says `ready` then, starts at `go`, says `streamed` at the end of the last reply, compares what
everybody has at `check`, and prints the `Watched` as JSON.
"""

import asyncio
import sys

import aiohttp
import msgspec

from conversations.rendering import render_blocks
from tests.bench.api import Person, open_session, read_upstream
from tests.bench.orders import Order
from tests.bench.stalled import StalledViewers
from tests.bench.viewers import PATIENCE_S, Tape, join_html, meet

OPENED_AT_ONCE = 20
FASTER = 0.03
FIRST_MS = 500.0  # so that the stalled one's handshake is nobody's latency


class Crowd(msgspec.Struct, kw_only=True):
    """So many viewers, spread evenly over so many conversations. Each is written a little faster than the one before it, so
    that every round has tokens that come together and tokens that do not: equal rates would keep the distance of their start.
    """

    address: str
    upstream: str
    bearer: str
    viewers: int
    conversations: int
    rate: float


class Round(msgspec.Struct, kw_only=True):
    """`stalled`: so many more who do not read, in the first conversation. Its tokens are `filler` characters longer."""

    name: str
    tokens: int
    filler: int
    stalled: int


class Watched(msgspec.Struct, kw_only=True):
    """What the healthy viewers saw, all of them together. `latencies` are tenths of a millisecond. `problems`: one for each who
    did not get every byte. Of a stalled one: what it was owed, what the kernel held of that at most; and when those were let go
    with whom the server lost its patience.
    """

    latencies: list[int]
    frames: int
    resyncs: int
    problems: list[str]
    owed_bytes: int
    held_bytes: int
    let_go_s: list[float]


read_crowd = msgspec.json.Decoder(Crowd).decode
read_round = msgspec.json.Decoder(Round).decode
read_watched = msgspec.json.Decoder(Watched).decode


class Spectator:
    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.tape = Tape(keeps=True)
        self.problem = ""
        self.socket = socket

    async def watch(self) -> None:
        """Until the end of the next reply."""
        self.tape = Tape(keeps=True)
        async for message in self.socket:
            self.tape.hear(message.data)
            if message.data.startswith('{"type":"reply.finished"'):
                return
        self.problem = f"socket closed with {self.socket.close_code}"


class Stand:
    """One conversation and those who watch it."""

    def __init__(self, crowd: Crowd, number: int, session: aiohttp.ClientSession) -> None:
        self._crowd = crowd
        self._number = number
        self._session = session
        self._person = Person(session, crowd.bearer)
        self._reply = ""

    async def create(self) -> None:
        self.conversation = await self._person.create_conversation()

    async def open(self) -> None:
        turns = asyncio.Semaphore(OPENED_AT_ONCE)

        async def enter() -> Spectator:
            async with turns:
                return Spectator(await self._person.watch(self.conversation))

        self.spectators = await asyncio.gather(*(enter() for _ in range(self._crowd.viewers // self._crowd.conversations)))

    async def close(self) -> None:
        await asyncio.gather(*(spectator.socket.close() for spectator in self.spectators))

    async def run(self, this: Round) -> None:
        """Ask, and watch to the end."""
        watching = asyncio.gather(*(spectator.watch() for spectator in self.spectators))
        self._reply = await self._person.send(self.conversation, self._build_order(this))
        await watching

    def _build_order(self, this: Round) -> Order:
        filler = 0 if self._number else this.filler
        key = f"{this.name}-{self._number}"
        rate = self._crowd.rate * (1 + FASTER * self._number)
        return Order(key=key, tokens=this.tokens, rate=rate, first_ms=FIRST_MS, filler=filler)

    async def find_problems(self, this: Round) -> list[str]:
        call = await read_upstream(self._session, self._crowd.upstream, self._build_order(this).key)
        stored = await self._person.wait_for(self._reply)
        if stored["state"] != "done" or stored["text"] != call.text:
            return [f"the stored text differs ({stored['state']})"] * len(self.spectators)
        if call.tokens != this.tokens:
            return [f"the product read {call.tokens} of {this.tokens} tokens"] * len(self.spectators)
        blocks = render_blocks(call.text)
        problems = [find_problem(spectator, blocks, call.tokens) for spectator in self.spectators]
        return [problem for problem in problems if problem]


def find_problem(spectator: Spectator, blocks: list[str], tokens: int) -> str:
    tape = spectator.tape
    if spectator.problem or len(tape.latencies) != tokens:
        return spectator.problem or f"{len(tape.latencies)} of {tokens} tokens came"
    return "" if join_html(tape.kept) == blocks else "the HTML on the socket differs"


async def play(stands: list[Stand], crowd: Crowd, this: Round) -> Watched:
    for stand in stands:
        await stand.open()
    await meet("ready")
    stalled = StalledViewers(crowd.address, crowd.bearer)
    await stalled.open(stands[0].conversation, this.stalled)
    async with asyncio.timeout(this.tokens / crowd.rate + PATIENCE_S):
        await asyncio.gather(*(stand.run(this) for stand in stands))
    await meet("streamed")
    await asyncio.gather(stalled.close(), *(stand.close() for stand in stands))
    tapes = [spectator.tape for stand in stands for spectator in stand.spectators]
    return Watched(
        latencies=[latency for tape in tapes for latency in tape.latencies],
        frames=sum(tape.count for tape in tapes),
        resyncs=sum(tape.resyncs for tape in tapes),
        problems=[problem for stand in stands for problem in await stand.find_problems(this)],
        owed_bytes=tapes[0].size_bytes,
        held_bytes=stalled.held_bytes,
        let_go_s=stalled.let_go_s,
    )


async def watch(crowd: Crowd) -> None:
    async with open_session(crowd.address) as session:
        stands = [Stand(crowd, number, session) for number in range(crowd.conversations)]
        for stand in stands:
            await stand.create()
        while line := await asyncio.to_thread(sys.stdin.readline):
            watched = await play(stands, crowd, read_round(line))
            print(msgspec.json.encode(watched).decode(), flush=True)


if __name__ == "__main__":
    asyncio.run(watch(read_crowd(sys.stdin.readline())))
