"""How long the provider's connection stays open after somebody has pressed Stop."""

import asyncio
import time

import aiohttp

from tests.bench.api import POLL_S, TIMEOUT_S, Person, open_session, read_upstream
from tests.bench.orders import Call, Order

SOON_MS, LATE_MS = 50.0, 30_000.0


async def measure(*, address: str, upstream: str, bearer: str, times: int, is_before_first: bool) -> list[float]:
    """Milliseconds from the click to the close, one after the other. `is_before_first`: the model has not said a word yet."""
    async with open_session(address) as session:
        person = Person(session, bearer)
        delays = []
        for number in range(times):
            conversation = await person.create_conversation()
            order = Order(key=f"stop-{is_before_first}-{number}", tokens=3000, first_ms=LATE_MS if is_before_first else SOON_MS)
            reply = await person.send(conversation, order)
            await _wait(session, upstream, order, "arrived_ns" if is_before_first else "first_ns")
            began_ns = time.monotonic_ns()
            await person.stop(reply)
            call = await _wait(session, upstream, order, "closed_ns")
            delays.append((call.closed_ns - began_ns) / 1e6)
            assert (await person.wait_for(reply))["state"] == "stopped"
    return delays


async def _wait(session: aiohttp.ClientSession, upstream: str, order: Order, moment: str) -> Call:
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            call = await read_upstream(session, upstream, order.key)
            if getattr(call, moment):
                return call
            await asyncio.sleep(POLL_S)
