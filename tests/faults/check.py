"""The examination after every fault: rows, devices, provider and processes have to agree."""

import asyncio
import time
from collections import Counter
from typing import Any

import psutil

from tests.fake_provider import build_echo
from tests.faults.fake import get_question
from tests.faults.promises import Broken, promise
from tests.faults.rig import Rig, list_strays
from tests.faults.rows import Reply
from tests.faults.viewer import Viewer

STUCK_S = 30.0
QUEUED_S = 60.0
PROGRAMS = ("replies", "jobs", "web")


async def examine(rig: Rig) -> str:
    """Raises Broken."""
    waited_s = await wait_for_ends(rig)
    replies = await rig.rows.list_replies()
    await check_viewers(rig.viewers, replies)
    await check_messages(rig, replies)
    check_calls(replies, await rig.fake.list_calls(), rig.scripted)
    await check_processes(rig)
    await ask_doctor(rig)
    return f"all ended {waited_s:.1f} s after it"


async def wait_for_ends(rig: Rig) -> float:
    """No reply streams 30 s after the fault, and none is in the queue that the broker may have lost after 60 s."""
    since = time.monotonic()
    while live := [reply for reply in (await rig.rows.list_replies()).values() if reply.is_live]:
        waited_s = time.monotonic() - since
        stuck = [reply.id for reply in live if waited_s > (QUEUED_S if reply.state == "queued" else STUCK_S)]
        promise(not stuck, f"live {waited_s:.0f} s later: {stuck}")
        await asyncio.sleep(0.2)
    return time.monotonic() - since


async def check_viewers(viewers: list[Viewer], replies: dict[str, Reply]) -> None:
    for viewer in viewers:
        for reply_id in list(viewer.replies):
            await viewer.wait_end(reply_id, 15)
        promise(not viewer.complaints, "; ".join(viewer.complaints[:3]))
        for reply_id, watched in viewer.replies.items():
            row = replies[reply_id]
            told = f"{reply_id}: not what is stored: {watched.at} characters on a {viewer.kind}, {len(row.text)} in the row"
            promise(viewer.shows(reply_id, row.text), told)
            promise(watched.reasoning == row.reasoning, f"{reply_id}: the reasoning differs")
            promise(watched.state == row.state, f"{reply_id}: {watched.state} on a device, {row.state} stored")


async def check_messages(rig: Rig, replies: dict[str, Reply]) -> None:
    doubled = await rig.rows.list_doubled_messages()
    promise(not doubled, f"doubled messages: {doubled}")
    stored = await rig.rows.list_messages()
    lost = [asked.message for asked in rig.api.asked if asked.message not in stored]
    promise(not lost, f"acknowledged and lost: {lost}")
    orphans = [reply for asked in rig.api.asked for reply in asked.replies if reply not in replies]
    promise(not orphans, f"acknowledged replies that are not stored: {orphans}")


def check_calls(replies: dict[str, Reply], calls: list[dict[str, Any]], scripted: set[str]) -> None:
    """One call for each reply that was started and none for the others; and what was said is what is stored."""
    by_mark: dict[str, list[str]] = {}
    for call in calls:
        by_mark.setdefault(get_question(call).split()[0], []).append(build_echo(call["json"]))
    started = Counter(reply.mark for reply in replies.values() if reply.started_at)
    done = Counter(reply.mark for reply in replies.values() if reply.state == "done")
    for mark in {*by_mark, *started} - scripted:
        count = len(by_mark.get(mark, []))
        promise(count <= started[mark], f"{mark}: {count} calls for {started[mark]} started replies")
        promise(count >= done[mark], f"{mark}: {count} calls for {done[mark]} done replies")
    for reply in replies.values():
        if reply.mark not in scripted:
            check_text(reply, by_mark.get(reply.mark, []))


def check_text(reply: Reply, said: list[str]) -> None:
    if reply.state == "done":
        promise(reply.text in said, f"{reply.id} is done with {len(reply.text)} characters that nobody said")
    elif reply.text:
        promise(any(text.startswith(reply.text) for text in said), f"{reply.id} holds text that nobody said")


async def check_processes(rig: Rig) -> None:
    """One process a program, none dead and unburied, none left behind."""
    process = rig.product.process
    if process is None or rig.product.has_ended():
        raise Broken("the product has ended")
    deadline = time.monotonic() + 15
    while wrong := [name for name in PROGRAMS if len(rig.find_all(name)) != 1]:
        promise(time.monotonic() < deadline, f"not one process each: {wrong}")
        await asyncio.sleep(0.1)
    family = psutil.Process(process.pid).children(recursive=True)
    dead = [child.pid for child in family if child.is_running() and child.status() == psutil.STATUS_ZOMBIE]
    promise(not dead, f"zombie processes: {dead}")
    ours = {process.pid, *(child.pid for child in family)} | ({rig.bus.pid} if rig.bus else set())
    strays = list_strays(rig.home, ours)
    promise(not strays, f"orphans: {strays}")


async def ask_doctor(rig: Rig) -> None:
    told = await asyncio.to_thread(rig.product.run, "doctor")
    promise(told.returncode == 0, f"doctor: {told.stdout}{told.stderr}")
