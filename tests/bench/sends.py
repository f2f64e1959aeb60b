"""What a send costs in a short and in a long conversation."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.bench.api import Person, open_session
from tests.bench.installation import Installation
from tests.bench.orders import Order

# Messages, and how many conversations of that length: a short one that is used again and again would not be short for long.
LENGTHS = {10: 20, 5000: 1}
WARM_TIMES = 2


@dataclass(frozen=True, slots=True)
class SendCost:
    """Milliseconds of the requests, in the order they were made; statements of one, authentication included."""

    length: str
    milliseconds: list[float]
    queries: int

    def get_first(self) -> list[float]:
        return self.milliseconds[: len(self.milliseconds) // 2]

    def get_second(self) -> list[float]:
        return self.milliseconds[len(self.milliseconds) // 2 :]


async def _time(address: str, bearer: str, conversations: Mapping[str, Sequence[str]], *, times: int) -> dict[str, list[float]]:
    """In turns, forwards and backwards, so that the machine's other load meets all lengths alike. Each reply has ended before
    the next send, and the first rounds only warm up.
    """
    taken: dict[str, list[float]] = {length: [] for length in conversations}
    async with open_session(address) as session:
        person = Person(session, bearer)
        for number in range(-WARM_TIMES, times):
            for length in list(conversations)[:: 1 if number % 2 else -1]:
                several = conversations[length]
                order = Order(key=f"send-{length}-{number}", tokens=1, first_ms=0)
                milliseconds = await _send(person, several[number % len(several)], order)
                taken[length] += [milliseconds] if number >= 0 else []
    return taken


async def _send(person: Person, conversation: str, order: Order) -> float:
    began = time.perf_counter()
    reply = await person.send(conversation, order)
    milliseconds = 1000 * (time.perf_counter() - began)
    await person.wait_for(reply)
    return milliseconds


async def _wait_for(address: str, bearer: str, reply: str) -> None:
    async with open_session(address) as session:
        await Person(session, bearer).wait_for(reply)


def measure(installation: Installation, *, times: int) -> list[SendCost]:
    bearer = installation.bearers[0]
    taken = asyncio.run(_time(installation.address, bearer, installation.conversations, times=times))
    return [
        SendCost(length, taken[length], _count(installation, several[0]))
        for length, several in installation.conversations.items()
    ]


def _count(installation: Installation, conversation: str) -> int:
    bearer = installation.bearers[0]
    order = Order(key=f"count-{conversation}", tokens=1, first_ms=0)
    counted = installation.count_queries(bearer=bearer, conversation=conversation, question=order.question)
    asyncio.run(_wait_for(installation.address, bearer, counted["reply"]))
    return int(counted["queries"])
