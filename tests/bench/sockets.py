"""What a socket costs on which nothing happens."""

import asyncio
from collections.abc import Sequence

import psutil

from tests.bench.api import Person, open_session

SETTLE_S = 1.0


async def measure(*, address: str, bearers: Sequence[str], web: psutil.Process, count: int) -> float:
    """Bytes of the web process for each of `count` open pages, every one with a conversation of its own."""
    async with open_session(address) as session:
        people = [Person(session, bearers[number % len(bearers)]) for number in range(count)]
        conversations = [await person.create_conversation() for person in people]
        warm = await people[0].watch(conversations[0])
        before = web.memory_info().rss
        sockets = [await person.watch(conversation) for person, conversation in zip(people, conversations, strict=True)]
        await asyncio.sleep(SETTLE_S)
        after = web.memory_info().rss
        for socket in (warm, *sockets):
            await socket.close()
    return (after - before) / count
