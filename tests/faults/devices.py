"""Devices lose their connections again and again. Whatever moment that is, they show in the end what is stored."""

import asyncio

from tests.faults.api import Asked
from tests.faults.catalog import fault
from tests.faults.promises import promise
from tests.faults.rig import Rig
from tests.faults.viewer import Viewer

DROPS = 50
REPLIES = 3
REPLY_S = 20.0
MEAN_S = REPLIES * REPLY_S / DROPS
# Between two words: mostly nothing, so that blocks of every kind grow, end, and turn into other ones.
JOINTS = (
    *[" {}"] * 24,
    " **{}**",
    " `{}`",
    " *{}",
    "* {}",
    "\n- {}",
    "\n1. {}",
    "\n### {}\n",
    "\n```\n{}",
    "\n```\n{}",
    "\n> {}",
    " | {}",
)


@fault("F22b", f"a phone and a page lose their connection at {DROPS} moments, and the bus forgets everything once")
async def reconnect_at_random(rig: Rig) -> str:
    conversation = await rig.api.open()
    devices = [rig.watch(conversation), rig.watch_page(conversation)]
    asked: list[Asked] = []
    for number in range(DROPS):
        if number * REPLIES // DROPS == len(asked):
            await expect_all_done(asked, devices)
            asked.append(await rig.api.send(write_markdown(rig), conversation=conversation))
        await asyncio.sleep(rig.random.uniform(0, 2 * MEAN_S))
        await drop_some(rig, devices)
        if number == DROPS // 2:
            rig.ask_bus("FLUSHALL")
    await expect_all_done(asked, devices)
    return await tell(rig, asked, devices)


def write_markdown(rig: Rig) -> str:
    """A question of one paragraph, as far as blank lines go. Its echo is what the page has to render."""
    mark, *words = rig.write_question(seconds=REPLY_S).split()
    return f"{mark} " + "".join(rig.random.choice(JOINTS).format(word) for word in words).replace("\n\n", "\n").strip()


async def drop_some(rig: Rig, devices: list[Viewer]) -> None:
    """One or both, each once it is connected."""
    for device in rig.random.choice([devices[:1], devices[1:], devices]):
        await device.wait_connected()
        device.drop()


async def expect_all_done(asked: list[Asked], devices: list[Viewer]) -> None:
    for one in asked:
        states = [await device.wait_end(one.reply) for device in devices]
        promise(states == ["done"] * len(devices), f"a reply is {states} on the devices")


async def tell(rig: Rig, asked: list[Asked], devices: list[Viewer]) -> str:
    """Raises Broken for a device that shows something else than the row."""
    rows = [await rig.rows.get(one.reply) for one in asked]
    for device in devices:
        different = [row.id for row in rows if not device.shows(row.id, row.text)]
        promise(not different, f"a {device.kind} shows something else than is stored: {different}")
    connections = " and ".join(f"{device.connections} ({device.kind}, {device.resumes} resumes)" for device in devices)
    return f"{connections} connections, {sum(len(row.text) for row in rows)} characters of {len(rows)} replies exact on both"
