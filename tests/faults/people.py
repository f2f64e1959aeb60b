"""People send twice, from two tabs, go away, and press Stop at the worst moment."""

import asyncio
import signal
import time
from uuid import uuid4

from tests.faults.api import Answer, Asked
from tests.faults.catalog import fault
from tests.faults.fake import build_answer
from tests.faults.promises import promise
from tests.faults.rig import Rig
from tests.faults.viewer import Viewer

PARALLEL = 20
STOPPED_S = 2.0
CLOSED_S = 2.0
LONG_CHARACTERS = 300_000
STALLED_S = 18
STALLED_MB = 15


@fault("F20", "one key, 20 times at once")
async def send_twenty_times(rig: Rig) -> str:
    conversation, question, key = await rig.api.open(), rig.write_question(seconds=2), str(uuid4())
    path, body = f"conversations/{conversation}/messages", {"text": question, "model": rig.api.models["steady"]}
    answers = await asyncio.gather(*(rig.api.call("POST", path, body, key=key) for _ in range(PARALLEL)))
    accepted = [answer for answer in answers if answer.status == 202]
    promise({answer.status for answer in answers} <= {202, 409}, f"answers: {[answer.status for answer in answers]}")
    promise(len({(a.body["message"]["id"], a.body["reply"]["id"]) for a in accepted}) == 1, "more than one message or reply")
    other = await rig.api.call("POST", path, body | {"text": question + " again"}, key=key)
    promise(other.status == 422, f"another body with the same key → {other.status}")
    asked, viewer = rig.api.note(question, accepted[0]), rig.watch(conversation)
    promise(await viewer.wait_end(asked.reply) == "done", "its reply is not done")
    late = await rig.api.call("POST", path, body, key=key)
    promise(late.status == 202 and late.body["reply"]["id"] == asked.reply, "the key is forgotten at the end of its reply")
    calls = await rig.fake.list_calls(asked.mark)
    promise(len(calls) == 1, f"{len(calls)} provider calls")
    return f"{len(accepted)} × 202, {PARALLEL - len(accepted)} × 409, 1 message, 1 call, other body 422"


@fault("F21", "two tabs send at once")
async def send_from_two_tabs(rig: Rig) -> str:
    conversation = await rig.api.open()
    tabs = [rig.watch(conversation) for _ in range(2)]
    for tab in tabs:
        await tab.wait_connected()
    questions = [rig.write_question(seconds=2) for _ in tabs]
    path, model = f"conversations/{conversation}/messages", rig.api.models["steady"]
    answers = await asyncio.gather(*(rig.api.call("POST", path, {"text": text, "model": model}) for text in questions))
    accepted = [rig.api.note(text, answer) for text, answer in zip(questions, answers, strict=True) if answer.status == 202]
    promise(accepted and {answer.status for answer in answers} <= {202, 409}, f"answers: {[a.status for a in answers]}")
    for asked in accepted:
        promise([await tab.wait_end(asked.reply) for tab in tabs] == ["done"] * 2, "a tab does not see the end")
        promise(tabs[0].get(asked.reply).text == tabs[1].get(asked.reply).text, "the tabs differ")
    tree = [message["id"] for message in (await rig.api.call("GET", path)).body["messages"]]
    promise(set(tree) == {name for asked in accepted for name in (asked.message, asked.reply)}, f"{len(tree)} in the tree")
    return f"{' and '.join(str(answer.status) for answer in answers)}, both tabs show the same"


@fault("F22", "the device is away while its reply is written")
async def go_away(rig: Rig) -> str:
    asked, viewer = await rig.ask(seconds=12)
    await viewer.wait_length(asked.reply, 60)
    had = viewer.get(asked.reply).length
    await viewer.close()
    rig.viewers.remove(viewer)
    away_s = 20 if rig.is_short else 60
    await asyncio.sleep(away_s)
    back = rig.watch(asked.conversation)
    back.replies = viewer.replies
    promise(await back.wait_end(asked.reply, 10) == "done", "the reply was not finished")
    tree = (await rig.api.call("GET", f"conversations/{asked.conversation}/messages")).body["messages"]
    promise(len(tree) == 2, f"{len(tree)} messages after the return")
    return f"{had} of {back.get(asked.reply).length} characters when it left, all of them {away_s} s later"


@fault("F22c", "a device asks for much and reads nothing")
async def stall(rig: Rig) -> str:
    """What it does not fetch must not pile up in the web server, nor keep the device beside it waiting."""
    await rig.fake.script(model="other", text="lantern " * (LONG_CHARACTERS // 8), chunk=4000, delay_s=0.01)
    long, viewer = await rig.ask_scripted(model="other")
    promise(await viewer.wait_end(long.reply) == "done", "a long reply is not done")
    stalled = rig.watch(long.conversation)
    await stalled.wait_connected()
    web = rig.find("web")
    asked, viewer = await rig.ask(seconds=STALLED_S, conversation=long.conversation)
    await stalled.wait_length(asked.reply, 60)
    stalled.stall()
    before, slowest_s = web.memory_info().rss, 0.0
    while not viewer.get(asked.reply).state:
        await stalled.ask_again(long.reply)
        await asyncio.sleep(0.22)
        slowest_s = max(slowest_s, time.monotonic() - viewer.get(asked.reply).told_at)
    grown_mb = (web.memory_info().rss - before) / 1e6
    promise(grown_mb < STALLED_MB, f"the web server grew by {grown_mb:.0f} MB")
    promise(slowest_s < 2, f"the device beside it was told nothing for {slowest_s:.1f} s")
    promise(stalled.is_connected and not stalled.get(asked.reply).state, "the device was not stalled")
    stalled.go_on()
    promise(await stalled.wait_end(asked.reply) == "done", "the device that goes on does not see the end")
    return f"web server grew by {grown_mb:.1f} MB, the other device never waited longer than {slowest_s:.1f} s"


@fault("F23", "Stop at every phase")
async def stop_at_every_phase(rig: Rig) -> str:
    told = [
        f"queued {await stop_queued(rig):.2f} s",
        f"connecting {await stop_connecting(rig):.2f} s",
        f"streaming {await stop_streaming(rig):.2f} s",
        f"at the end {await stop_at_the_end(rig)}",
    ]
    return ", ".join(told)


async def stop_queued(rig: Rig) -> float:
    worker = rig.find("replies")
    worker.send_signal(signal.SIGSTOP)
    try:
        asked, viewer = await rig.ask(seconds=1)
        stopped_s = await stop_and_wait(rig, asked, viewer)
    finally:
        worker.send_signal(signal.SIGCONT)
    promise(not (await rig.rows.get(asked.reply)).started_at, "a reply that was stopped in the queue was started")
    return stopped_s


async def stop_connecting(rig: Rig) -> float:
    await rig.fake.script(model="silent", hang=True)
    asked, viewer = await rig.ask_scripted(model="silent")
    await wait_for_call(rig, asked)
    stopped_s = await stop_and_wait(rig, asked, viewer)
    await expect_closed(rig, asked)
    return stopped_s


async def stop_streaming(rig: Rig) -> float:
    asked, viewer = await rig.ask(seconds=15)
    await viewer.wait_length(asked.reply, 200)
    had = viewer.get(asked.reply).text
    stopped_s = await stop_and_wait(rig, asked, viewer)
    promise(viewer.get(asked.reply).text.startswith(had), "text went away")
    await expect_closed(rig, asked)
    return stopped_s


async def stop_at_the_end(rig: Rig) -> str:
    """Between the last text, the counts and the end, which come 50 ms apart: stopped or done, and nothing else."""
    states = []
    for number in range(6):
        asked, viewer = await rig.ask(seconds=1)
        await viewer.wait_length(asked.reply, len(build_answer(asked.question)))
        await asyncio.sleep(0.04 * number)
        answer: Answer = await rig.api.call("POST", f"messages/{asked.reply}/stop")
        promise(answer.status in (202, 409), f"stop → {answer.status}")
        states.append(await viewer.wait_end(asked.reply, STOPPED_S + 1))
    promise(set(states) <= {"stopped", "done"}, f"states: {states}")
    return f"{states.count('stopped')} stopped and {states.count('done')} done"


async def stop_and_wait(rig: Rig, asked: Asked, viewer: Viewer) -> float:
    pressed_at = time.monotonic()
    promise(await rig.api.stop(asked.reply) == 202, "stop was refused")
    state = await viewer.wait_end(asked.reply, STOPPED_S)
    promise(state == "stopped", f"a stopped reply is {state}")
    return time.monotonic() - pressed_at


async def wait_for_call(rig: Rig, asked: Asked) -> None:
    deadline = time.monotonic() + 10
    while not await rig.fake.list_calls(asked.mark):
        promise(time.monotonic() < deadline, "no call within 10 s")
        await asyncio.sleep(0.05)


async def expect_closed(rig: Rig, asked: Asked) -> None:
    """The provider sees the end of its connection."""
    deadline = time.monotonic() + CLOSED_S
    while not (call := (await rig.fake.list_calls(asked.mark))[0])["closed_at"]:
        promise(time.monotonic() < deadline, f"the provider's connection is open {CLOSED_S:g} s after the stop")
        await asyncio.sleep(0.05)
    promise(call["is_cut"], "the provider was not cut off")
