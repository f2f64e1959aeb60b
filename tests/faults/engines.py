"""Bus and database restart, vanish, freeze and forget."""

import asyncio
import signal
import time
from uuid import uuid4

import psutil

from ops.engines import supervisor
from tests.faults.api import Answer, Asked
from tests.faults.catalog import fault
from tests.faults.promises import promise, until
from tests.faults.rig import Rig
from tests.faults.viewer import Viewer

REQUEUED_S = 60.0
ANSWERED_S = 10.0
RECOVERED_S = 10.0
STALE_S = 5.0
# The canary's nine looks, the time between two canaries, and an orderly end.
DEAF_S = 75.0
# The broker's own watch over a request that is not answered: up to twice the interval of its health checks.
HUNG_S = 30.0
ASKS_FOR_REPLIES = rb"BRPOP.*chatbox:replies"
NOTHING_THERE = b"*-1\r\n"
LOCKED_S = 30.0
# A bus that is silent is found out by health checks and time limits.
SILENT_S = 15.0


def expect_same(rig: Rig, worker: psutil.Process) -> None:
    """A worker that cannot bear a lost connection ends, takes nothing new meanwhile, and drops what is too long."""
    promise(worker in rig.find_all("replies"), "the reply worker ended")
    promise("Unrecoverable" not in rig.read_log("replies"), "the reply worker gave up")


async def expect_done(streams: list[tuple[Asked, Viewer]], timeout_s: float = 40) -> None:
    states = [await viewer.wait_end(asked.reply, timeout_s) for asked, viewer in streams]
    promise(states == ["done"] * len(states), f"replies are {states}")


@fault("F4", "the bus restarts with its append-only file")
async def restart_bus(rig: Rig) -> str:
    streams, worker = await rig.ask_many(3, seconds=10), rig.find("replies")
    rig.stop_bus()
    pages = [await rig.api.get(path) for path in ("accounts/login/", "livez", "chat/")]
    promise(pages == [200, 200, 200], f"pages meanwhile: {pages}")
    rig.start_bus()
    await expect_done(streams)
    fresh = await rig.ask(seconds=1)
    await expect_done([fresh], REQUEUED_S)
    expect_same(rig, worker)
    return "3 streams went on, pages 200, next reply done"


@fault("F4b", "the bus forgets everything, in mid-stream and with a queue")
async def flush_bus(rig: Rig) -> str:
    streams = await rig.ask_many(3, seconds=10)
    rig.ask_bus("FLUSHALL")
    worker = rig.find("replies")
    worker.send_signal(signal.SIGSTOP)
    queued = await rig.ask(seconds=1)
    rig.ask_bus("FLUSHALL")
    worker.send_signal(signal.SIGCONT)
    await expect_done(streams)
    started = time.monotonic()
    await expect_done([queued], REQUEUED_S)
    return f"3 streams went on, the lost job done after {time.monotonic() - started:.1f} s"


@fault("F5", "the bus is down")
async def lose_bus(rig: Rig) -> str:
    down_s = 30 if rig.is_short else 120
    streams, worker = await rig.ask_many(2, seconds=20), rig.find("replies")
    rig.stop_bus()
    await rig.bus_proxy.refuse()
    lost_at = time.monotonic()
    await until(lambda: not any(viewer.is_live for _, viewer in streams), 10, "devices that know the bus is away")
    await expect_growth(*streams[0])
    slowest_s = await expect_service(rig, streams[0][0])
    promise(await rig.api.stop(streams[1][0].reply) == 202, "stop was refused")
    stopped_s = await until(lambda: streams[1][1].get(streams[1][0].reply).state, STALE_S, "the end of a stopped reply")
    sent, key = await try_to_send(rig)
    await asyncio.sleep(max(0.0, lost_at + down_s - time.monotonic()))
    await rig.heal()
    asked, viewer = await finish_sending(rig, sent, key)
    started = time.monotonic()
    await expect_done([streams[0], (asked, viewer)], REQUEUED_S)
    waited_s = time.monotonic() - started
    expect_same(rig, worker)
    return (
        f"{down_s} s: slowest answer {slowest_s:.1f} s, stop after {stopped_s:.1f} s, send → {sent.status}, "
        f"its reply done {waited_s:.1f} s after the return"
    )


async def expect_growth(asked: Asked, viewer: Viewer, *, most_s: float = STALE_S) -> float:
    """Text goes on. The seconds until there was more of it."""
    length = viewer.get(asked.reply).length
    return await until(lambda: viewer.get(asked.reply).length > length, most_s, "more text from the checkpoints")


async def expect_service(rig: Rig, asked: Asked) -> float:
    """Signing in, reading and health without the bus; the slowest answer in seconds."""
    answers = [
        await rig.api.call("GET", f"conversations/{asked.conversation}/messages"),
        await rig.api.call("GET", "conversations"),
        await rig.api.call("GET", "me"),
    ]
    await rig.api.sign_in()
    promise([answer.status for answer in answers] == [200, 200, 200], f"reading: {[answer.status for answer in answers]}")
    pages = {path: await rig.api.get(path) for path in ("accounts/login/", "chat/", "livez", "readyz")}
    promise(pages == {"accounts/login/": 200, "chat/": 200, "livez": 200, "readyz": 503}, f"pages: {pages}")
    return max(answer.seconds for answer in answers)


async def try_to_send(rig: Rig) -> tuple[Answer, tuple[str, str, str]]:
    """Accepted (and queued) or refused with 503, never anything else, and soon. The answer, and what was sent."""
    conversation, question, key = await rig.api.open(), rig.write_question(seconds=1), str(uuid4())
    path, body = f"conversations/{conversation}/messages", {"text": question, "model": rig.api.models["steady"]}
    answer = await rig.api.call("POST", path, body, key=key)
    promise(answer.status in (202, 503), f"send → {answer.status} {answer.body}")
    promise(answer.seconds < ANSWERED_S, f"send was answered after {answer.seconds:.1f} s")
    return answer, (conversation, question, key)


async def finish_sending(rig: Rig, answer: Answer, sent: tuple[str, str, str]) -> tuple[Asked, Viewer]:
    """What a browser does with its draft: send it again under the same key."""
    conversation, question, key = sent
    body = {"text": question, "model": rig.api.models["steady"]}
    again = await rig.api.insist("POST", f"conversations/{conversation}/messages", body, key=key)
    promise(again.status == 202, f"the same key again → {again.status}")
    if answer.status == 202:
        promise(again.body["reply"]["id"] == answer.body["reply"]["id"], "the same key made another reply")
    viewer = rig.watch(conversation)
    asked = rig.api.note(question, again)
    viewer.get(asked.reply)
    return asked, viewer


@fault("F5b", "the bus does not answer any more")
async def freeze_bus(rig: Rig) -> str:
    streams = await rig.ask_many(2, seconds=20)
    rig.bus_proxy.open_hole()
    stale_s = await expect_growth(*streams[0], most_s=SILENT_S)
    answer, sent = await try_to_send(rig)
    pages = [await rig.api.get(path) for path in ("accounts/login/", "livez", "chat/")]
    promise(pages == [200, 200, 200], f"pages: {pages}")
    await rig.heal()
    last = await finish_sending(rig, answer, sent)
    await expect_done([*streams, last], REQUEUED_S)
    return f"text went on after {stale_s:.1f} s, send → {answer.status} after {answer.seconds:.1f} s, all done afterwards"


@fault("F6", "10 resets of every connection to the bus in 3 s")
async def reset_bus(rig: Rig) -> str:
    streams, worker = await rig.ask_many(2, seconds=8), rig.find("replies")
    resets = []
    for _ in range(10):
        resets.append(rig.bus_proxy.reset())
        await asyncio.sleep(0.3)
    started = time.monotonic()
    fresh = await rig.ask(seconds=1)
    await expect_done([fresh], REQUEUED_S)
    waited_s = time.monotonic() - started
    await expect_done(streams)
    expect_same(rig, worker)
    return f"{sum(resets)} connections reset, next reply done after {waited_s:.1f} s"


@fault("F6b", "the reply worker is connected and takes nothing any more")
async def deafen_worker(rig: Rig) -> str:
    """All its connections are well, but where it asks for tasks it hears that there are none: it looks alive."""
    await expect_done([await rig.ask(seconds=1)])
    worker, jobs = rig.find("replies"), rig.find("jobs")
    rig.bus_proxy.intercept(ASKS_FOR_REPLIES, answer=NOTHING_THERE)
    deaf_at = time.monotonic()
    await until(lambda: rig.bus_proxy.intercepted, 5, "a worker that asks for tasks")
    asked = await rig.ask(seconds=1)
    await rig.wait_restarted("replies", worker, DEAF_S)
    restarted_s = time.monotonic() - deaf_at
    promise("this worker took no task" in rig.read_log("replies"), "the worker ended without saying why")
    await expect_done([asked], ANSWERED_S)
    answered_s = time.monotonic() - deaf_at
    promise(jobs in rig.find_all("jobs"), "the worker beside it ended, too")
    return f"a new worker after {restarted_s:.1f} s, the waiting question answered after {answered_s:.1f} s"


@fault("F6c", "the reply worker's connection for new tasks is never answered again")
async def hang_worker(rig: Rig) -> str:
    await expect_done([await rig.ask(seconds=1)])
    worker = rig.find("replies")
    rig.bus_proxy.intercept(ASKS_FOR_REPLIES)
    hung_at = time.monotonic()
    await until(lambda: rig.bus_proxy.intercepted, 5, "a worker that asks for tasks")
    await expect_done([await rig.ask(seconds=1)], HUNG_S)
    answered_s = time.monotonic() - hung_at
    expect_same(rig, worker)
    return f"the waiting question answered after {answered_s:.1f} s by the same worker"


@fault("F8", "the database restarts and is away for 10 s")
async def restart_database(rig: Rig) -> str:
    streams = await rig.ask_many(2, seconds=20)
    await asyncio.to_thread(supervisor.stop_program, rig.run, "postgres")
    gone_at = time.monotonic()
    await until(lambda: supervisor.has_ended(rig.run, "postgres"), 15, "the end of the database")
    answers = [await rig.api.call(method, path, body) for method, path, body in list_requests(rig, streams[0][0])]
    promise([answer.status for answer in answers] == [503] * 3, f"meanwhile: {[answer.status for answer in answers]}")
    promise(await rig.api.get("livez") == 200, "livez asks the database")
    await asyncio.sleep(max(0.0, gone_at + 10 - time.monotonic()))
    await asyncio.to_thread(supervisor.start_program, rig.run, "postgres")
    started = time.monotonic()
    await rig.api.insist("GET", "conversations")
    back_s = time.monotonic() - started
    promise(back_s < RECOVERED_S, f"reading works {back_s:.1f} s after the return")
    await expect_done([*streams, await rig.ask(seconds=1)])
    return f"503 in ≤ {max(answer.seconds for answer in answers):.1f} s, back after {back_s:.1f} s, streams whole"


def list_requests(rig: Rig, asked: Asked) -> list[tuple[str, str, dict[str, str] | None]]:
    return [
        ("GET", "conversations", None),
        ("GET", f"conversations/{asked.conversation}/messages", None),
        ("POST", "conversations", {}),
    ]


@fault("F8b", "the database is away for longer than a lease")
async def lose_database(rig: Rig) -> str:
    """Back-off must not grow with the outage: the wait after it would be as long as the outage itself."""
    away_s = 40 if rig.is_short else 120
    (asked, viewer) = await rig.ask(seconds=20)
    await viewer.wait_length(asked.reply, 60)
    await asyncio.to_thread(supervisor.stop_program, rig.run, "postgres")
    await asyncio.sleep(away_s)
    await asyncio.to_thread(supervisor.start_program, rig.run, "postgres")
    started = time.monotonic()
    await rig.api.insist("GET", "conversations")
    back_s = time.monotonic() - started
    promise(back_s < RECOVERED_S, f"reading works {back_s:.1f} s after the return")
    await expect_done([await rig.ask(seconds=1)], RECOVERED_S + REQUEUED_S)
    fresh_s = time.monotonic() - started
    state = await viewer.wait_end(asked.reply, REQUEUED_S)
    promise(state in ("done", "interrupted"), f"the reply of before is {state}")
    return f"{away_s} s: back after {back_s:.1f} s, next reply done after {fresh_s:.1f} s, the one before {state}"


@fault("F9", "the messages are locked for 30 s")
async def lock_messages(rig: Rig) -> str:
    streams = await rig.ask_many(2, seconds=15)
    async with await rig.rows.connect() as connection, connection.transaction():
        await connection.execute("LOCK TABLE conversations_message IN ACCESS EXCLUSIVE MODE")
        locked_at = time.monotonic()
        path = f"conversations/{streams[0][0].conversation}/messages"
        answers = await asyncio.gather(*(rig.api.call("GET", path) for _ in range(8)))
        promise({answer.status for answer in answers} == {503}, f"meanwhile: {[answer.status for answer in answers]}")
        promise(await rig.api.get("livez") == 200, "livez waits for a lock")
        promise((await rig.api.call("GET", "me")).status == 200, "other tables are answered")
        await asyncio.sleep(max(0.0, locked_at + LOCKED_S - time.monotonic()))
    started = time.monotonic()
    await rig.api.insist("GET", path)
    back_s = time.monotonic() - started
    await expect_done([*streams, await rig.ask(seconds=1)])
    return f"503 in ≤ {max(answer.seconds for answer in answers):.1f} s, back after {back_s:.1f} s, streams whole"
