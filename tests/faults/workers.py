"""Worker and web server are killed, told to go, and frozen."""

import asyncio
import signal
import socket
import time

from tests.faults.api import Asked
from tests.faults.catalog import fault
from tests.faults.check import STUCK_S
from tests.faults.fake import count_said
from tests.faults.people import wait_for_call
from tests.faults.promises import promise, until
from tests.faults.rig import Rig, read_command
from tests.faults.viewer import Viewer

# A second of text, and what the network holds.
LOST_MOST = 240 + 60
DRAIN_S = 20.0
RECONNECT_S = 5.0
RESTARTING = 4012
GONE_S = 4.0
RETURN_S = 2.0
FROZEN_S = 90
BLOCKED_S = 5.0


@fault("F1", "the reply worker is killed, before the first text of one reply and in the middle of another")
async def kill_worker_between(rig: Rig) -> str:
    await rig.fake.script(model="silent", hang=True)
    streams = [await rig.ask_scripted(model="silent"), await rig.ask(seconds=20)]
    await wait_for_call(rig, streams[0][0])
    await streams[1][1].wait_length(streams[1][0].reply, 200)
    had = [viewer.get(asked.reply).text for asked, viewer in streams]
    rig.find("replies").kill()
    killed_at = time.monotonic()
    await expect_interrupted(streams, since=killed_at)
    ended_s = time.monotonic() - killed_at
    await rig.fake.script()
    for (asked, viewer), text in zip(streams, had, strict=True):
        promise(viewer.get(asked.reply).text.startswith(text), "text that a device had went away")
        await expect_two_bubbles(rig, asked)
        promise(await viewer.wait_end(await rig.api.retry(asked)) == "done", "Retry did not bring a whole reply")
        await expect_two_bubbles(rig, asked)
    return f"both interrupted after {ended_s:.1f} s, with 0 and ≥ {len(had[1])} characters, one bubble each, Retry done"


async def expect_two_bubbles(rig: Rig, asked: Asked) -> None:
    """The question and the reply shown for it, however often it was written; and no row that nobody asked for."""
    shown = (await rig.api.call("GET", f"conversations/{asked.conversation}/messages")).body["messages"]
    promise([message["id"] for message in shown] == [asked.message, asked.reply], f"{len(shown)} bubbles")
    rows = [reply.id for reply in (await rig.rows.list_replies()).values() if reply.parent == asked.message]
    promise(set(rows) == set(asked.replies), f"{len(rows)} replies stored, {len(asked.replies)} asked for")


@fault("F2", "the reply worker is killed with 5 streams")
async def kill_worker(rig: Rig) -> str:
    streams = await rig.ask_many(5, seconds=20)
    rig.find("replies").kill()
    killed_at = time.monotonic()
    fresh, watcher = await rig.ask(seconds=1)
    promise(await watcher.wait_end(fresh.reply, 20) == "done", "a reply asked after the kill is not done")
    fresh_s = time.monotonic() - killed_at
    await expect_interrupted(streams, since=killed_at)
    ended_s = time.monotonic() - killed_at
    lost = [await count_lost(rig, asked) for asked, _ in streams]
    promise(max(lost) <= LOST_MOST, f"characters lost: {lost}")
    retried, viewer = streams[0]
    promise(await viewer.wait_end(await rig.api.retry(retried), 40) == "done", "Retry did not bring a whole reply")
    return f"5 interrupted after {ended_s:.1f} s, lost ≤ {max(lost)} characters, next reply after {fresh_s:.1f} s, Retry done"


async def expect_interrupted(streams: list[tuple[Asked, Viewer]], *, since: float) -> None:
    states = [await viewer.wait_end(asked.reply, 2 * STUCK_S) for asked, viewer in streams]
    took_s = time.monotonic() - since
    promise(states == ["interrupted"] * len(states), f"replies are {states}")
    promise(all(viewer.get(asked.reply).error for asked, viewer in streams), "an interrupted reply says why")
    promise(took_s <= STUCK_S, f"interrupted only {took_s:.1f} s after it")


async def count_lost(rig: Rig, asked: Asked) -> int:
    (call,) = await rig.fake.list_calls(asked.mark)
    return count_said(call) - len((await rig.rows.get(asked.reply)).text)


@fault("F3", "the reply worker is told to go with 5 streams")
async def drain_worker(rig: Rig) -> str:
    streams = await rig.ask_many(3, seconds=10)
    streams += [await rig.ask(seconds=24.5) for _ in range(2)]
    await streams[-1][1].wait_length(streams[-1][0].reply, 30)
    old = rig.find("replies")
    old.terminate()
    told_at = time.monotonic()
    late, watcher = await rig.ask(seconds=1)
    states = [await viewer.wait_end(asked.reply, DRAIN_S + 5) for asked, viewer in streams]
    promise(states[:3] == ["done"] * 3, f"replies that had time are {states[:3]}")
    promise(set(states[3:]) <= {"done", "interrupted"}, f"replies that had not are {states[3:]}")
    await until(lambda: not old.is_running(), 35 - (time.monotonic() - told_at), "the end of the worker")
    gone_s = time.monotonic() - told_at
    await until(lambda: "exited: replies (exit status 0" in rig.read_log("supervisord"), 5, "exit status 0")
    promise(await watcher.wait_end(late.reply, 30) == "done", "a reply asked meanwhile is not done")
    return f"{states.count('done')} done, {states.count('interrupted')} interrupted, gone after {gone_s:.1f} s with 0"


@fault("F10", "the web server is killed with 3 streams")
async def kill_web(rig: Rig) -> str:
    streams = await rig.ask_many(3)
    before = [viewer.connections for _, viewer in streams]
    rig.find("web").kill()
    back_s = await until(lambda: have_reconnected(streams, before), 20, "sockets again")
    promise(back_s <= RECONNECT_S, f"devices are back after {back_s:.1f} s")
    states = [await viewer.wait_end(asked.reply) for asked, viewer in streams]
    promise(states == ["done"] * 3, f"replies are {states}")
    return f"devices back after {back_s:.1f} s, 3 done"


@fault("F10b", "the web server is told to go with 3 streams")
async def drain_web(rig: Rig) -> str:
    """Back within 2 s of the moment when there is a server again: whoever knocks too early tries again soon."""
    streams = await rig.ask_many(3)
    before = [viewer.connections for _, viewer in streams]
    events = await rig.api.listen(streams[0][0].reply)
    old = rig.find("web")
    old.terminate()
    gone_s = await until(lambda: not read_command(old), GONE_S, "the end of the old web server")
    await until(lambda: "exited: web (exit status 0" in rig.read_log("supervisord"), 5, "exit status 0")
    open_s = await until(lambda: is_open(rig.product.port), 15, "a new web server")
    back_s = await until(lambda: have_reconnected(streams, before), 20, "sockets again")
    promise(back_s <= RETURN_S, f"devices are back after {back_s:.1f} s")
    codes = {code for _, viewer in streams for code in viewer.close_codes}
    promise(codes == {RESTARTING}, f"sockets were closed with {codes}")
    promise((await events.text()).endswith("\n\n"), "an event stream was cut off")
    states = [await viewer.wait_end(asked.reply) for asked, viewer in streams]
    promise(states == ["done"] * 3, f"replies are {states}")
    return f"gone after {gone_s:.1f} s with 0, a new one {open_s:.1f} s later, devices back {back_s:.1f} s after it, 3 done"


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def have_reconnected(streams: list[tuple[Asked, Viewer]], before: list[int]) -> bool:
    pairs = zip(streams, before, strict=True)
    return all(viewer.connections > count and viewer.is_connected for (_, viewer), count in pairs)


@fault("F39", "the reply worker is frozen past its leases, then wakes up")
async def freeze_worker(rig: Rig) -> str:
    streams = await rig.ask_many(2, seconds=20)
    worker = rig.find("replies")
    worker.send_signal(signal.SIGSTOP)
    frozen_at = time.monotonic()
    await expect_interrupted(streams, since=frozen_at)
    ended_s = time.monotonic() - frozen_at
    if not rig.is_short:
        await asyncio.sleep(FROZEN_S - ended_s)
    rows = [await rig.rows.get(asked.reply) for asked, _ in streams]
    worker.send_signal(signal.SIGCONT)
    fresh, watcher = await rig.ask(seconds=2)
    promise(await watcher.wait_end(fresh.reply, 20) == "done", "the worker that woke up does not work")
    promise(worker in rig.find_all("replies"), "the worker that woke up was taken for deaf")
    for row in rows:
        now = await rig.rows.get(row.id)
        promise(
            now == row, f"the zombie changed a row: {len(row.text)} → {len(now.text)} characters, {row.state} → {now.state}"
        )
    return f"2 interrupted after {ended_s:.1f} s, nothing written after it woke up"


@fault("F39b", "the web server stands still for 5 s with 3 streams")
async def freeze_web(rig: Rig) -> str:
    streams, web = await rig.ask_many(3, seconds=15), rig.find("web")
    before = [viewer.connections for _, viewer in streams]
    web.send_signal(signal.SIGSTOP)
    await asyncio.sleep(BLOCKED_S)
    had = [viewer.get(asked.reply).length for asked, viewer in streams]
    web.send_signal(signal.SIGCONT)
    on_s = await until(lambda: have_grown(streams, had), RECONNECT_S, "more text on every device")
    kept = sum(viewer.connections == count for (_, viewer), count in zip(streams, before, strict=True))
    states = [await viewer.wait_end(asked.reply) for asked, viewer in streams]
    promise(states == ["done"] * 3, f"replies are {states}")
    promise(web in rig.find_all("web"), "the web server was restarted")
    return f"devices go on {on_s:.2f} s later, {kept} of 3 on the same socket, 3 done"


def have_grown(streams: list[tuple[Asked, Viewer]], had: list[int]) -> bool:
    return all(viewer.get(asked.reply).length > length for (asked, viewer), length in zip(streams, had, strict=True))
