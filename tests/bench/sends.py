"""What a send costs in a short and in a long conversation."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass

from tests.bench.api import Person, open_session
from tests.bench.installation import Installation
from tests.bench.orders import Order


@dataclass(frozen=True, slots=True)
class SendCost:
    """Milliseconds of the requests; statements of one, authentication included."""

    length: str
    milliseconds: list[float]
    queries: int


async def _time(address: str, bearer: str, conversations: Mapping[str, str], *, times: int) -> dict[str, list[float]]:
    """In turns, so that the machine's other load meets all lengths alike. Each reply has ended before the next send."""
    taken: dict[str, list[float]] = {length: [] for length in conversations}
    async with open_session(address) as session:
        person = Person(session, bearer)
        for number in range(times):
            for length, conversation in conversations.items():
                order = Order(key=f"send-{length}-{number}", tokens=1, first_ms=0)
                began = time.perf_counter()
                reply = await person.send(conversation, order)
                taken[length].append(1000 * (time.perf_counter() - began))
                await person.wait_for(reply)
    return taken


async def _wait_for(address: str, bearer: str, reply: str) -> None:
    async with open_session(address) as session:
        await Person(session, bearer).wait_for(reply)


def measure(installation: Installation, *, times: int) -> list[SendCost]:
    bearer = installation.bearers[0]
    taken = asyncio.run(_time(installation.address, bearer, installation.conversations, times=times))
    return [
        SendCost(length, taken[length], _count(installation, conversation))
        for length, conversation in installation.conversations.items()
    ]


def _count(installation: Installation, conversation: str) -> int:
    bearer = installation.bearers[0]
    order = Order(key=f"count-{conversation}", tokens=1, first_ms=0)
    counted = installation.count_queries(bearer=bearer, conversation=conversation, question=order.question)
    asyncio.run(_wait_for(installation.address, bearer, counted["reply"]))
    return int(counted["queries"])
