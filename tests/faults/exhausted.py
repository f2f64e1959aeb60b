"""Somebody else takes every connection that the database has left."""

import asyncio
from contextlib import AsyncExitStack

import psycopg

from tests.faults.catalog import fault
from tests.faults.engines import RECOVERED_S, expect_done
from tests.faults.promises import promise
from tests.faults.rig import Rig

HELD_S = 10.0
MOST = 500
AT_ONCE = 12


@fault("F9b", f"every connection of the database is taken for {HELD_S:g} s")
async def take_all_connections(rig: Rig) -> str:
    streams = await rig.ask_many(2, seconds=20)
    paths = ["conversations", "me", f"conversations/{streams[0][0].conversation}/messages"] * (AT_ONCE // 3)
    async with AsyncExitStack() as stack:
        taken = await take(rig, stack)
        answers = await asyncio.gather(*(rig.api.call("GET", path) for path in paths))
        promise({answer.status for answer in answers} <= {200, 503}, f"meanwhile: {[a.status for a in answers]}")
        promise(await rig.api.get("livez") == 200, "livez asks the database")
        await asyncio.sleep(HELD_S)
    served = sum(answer.status == 200 for answer in answers)
    back_s = await wait_served(rig)
    await expect_done([*streams, await rig.ask(seconds=1)])
    slowest_s = max(answer.seconds for answer in answers)
    return (
        f"{taken} taken, {served} of {len(answers)} requests served, the others 503, in ≤ {slowest_s:.1f} s; "
        f"back after {back_s:.1f} s, streams whole"
    )


async def take(rig: Rig, stack: AsyncExitStack) -> int:
    """Until there is none. What the product holds, it keeps."""
    for number in range(MOST):
        try:
            await stack.enter_async_context(await rig.rows.connect())
        except psycopg.OperationalError:
            return number
    return MOST


async def wait_served(rig: Rig) -> float:
    loop = asyncio.get_running_loop()
    started = loop.time()
    await rig.api.insist("GET", "conversations")
    back_s = loop.time() - started
    promise(back_s < RECOVERED_S, f"reading works {back_s:.1f} s after the return")
    return back_s
