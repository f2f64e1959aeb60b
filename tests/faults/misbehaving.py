"""The provider refuses, stalls, trickles, babbles and breaks off. What a person gets of it, and in what time."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

from tests.fake_provider import build_chunk
from tests.faults.api import Asked
from tests.faults.catalog import fault
from tests.faults.promises import promise
from tests.faults.rig import TIMEOUTS, Rig
from tests.faults.rows import Reply
from tests.faults.viewer import Viewer

IDLE_S, FIRST_TOKEN_S, TOTAL_S = (float(TIMEOUTS[name]) for name in TIMEOUTS)
SLACK_S = 3.0
ATTEMPTS = 3
REFUSED_S = 10.0
BUSY = {"status": 429}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Scripts for the calls of one reply, in order, and what becomes of it. `text`: how it begins; None: do not look."""

    name: str
    scripts: list[dict[str, Any]]
    state: str
    calls: int = 1
    error: str = ""
    least_s: float = 0.0
    most_s: float = 8.0
    text: str | None = None
    fields: Mapping[str, object] = field(default_factory=dict)


async def play_cases(rig: Rig, cases: list[Case]) -> str:
    """One after the other, since their scripts are taken in the order of the calls."""
    return ", ".join([f"{case.name} {await play_case(rig, case):.1f} s" for case in cases])


async def play_case(rig: Rig, case: Case) -> float:
    await rig.fake.script()
    for script in case.scripts:
        await rig.fake.script(**script)
    started = time.monotonic()
    asked, viewer = await rig.ask_scripted()
    await viewer.wait_end(asked.reply, case.most_s + SLACK_S)
    took_s = time.monotonic() - started
    promise(case.least_s <= took_s, f"{case.name}: ended after {took_s:.1f} s")
    await expect(rig, case, asked, viewer)
    return took_s


async def expect(rig: Rig, case: Case, asked: Asked, viewer: Viewer) -> None:
    row: Reply = await rig.rows.get(asked.reply)
    calls = len(await rig.fake.list_calls(asked.mark))
    promise((row.state, row.error_code) == (case.state, case.error), f"{case.name}: {row.state} {row.error_code}")
    promise(calls == case.calls, f"{case.name}: {calls} calls instead of {case.calls}")
    promise(case.text is None or row.text == case.text, f"{case.name}: text is {row.text[:80]!r}")
    for name, value in case.fields.items():
        promise(getattr(row, name) == value, f"{case.name}: {name} is {getattr(row, name)!r}")


@fault("F12", "the provider is busy: 429")
async def be_busy(rig: Rig) -> str:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=7), usegmt=True)
    again = [{"text": "Here I am."}]
    cases = [
        Case(name="in 2 s", scripts=[BUSY | {"headers": {"Retry-After": "2"}}, *again], state="done", calls=2, least_s=2),
        Case(name="a date", scripts=[BUSY | {"headers": {"Retry-After": soon}}, *again], state="done", calls=2, least_s=2),
        Case(name="no time", scripts=[BUSY] * ATTEMPTS, state="failed", error="provider_busy", calls=ATTEMPTS),
        Case(
            name="in 10⁶ s",
            scripts=[BUSY | {"headers": {"Retry-After": "1000000"}}],
            state="failed",
            error="provider_busy",
            most_s=TOTAL_S,
        ),
    ]
    return await play_cases(rig, cases)


@fault("F13", "the provider fails: 500, 502, 503, 529")
async def fail(rig: Rig) -> str:
    cases = [
        Case(name=f"{status} then well", scripts=[{"status": status}, {"text": "Well."}], state="done", calls=2, text="Well.")
        for status in (500, 502, 503, 529)
    ]
    cases += [
        Case(name="only 500", scripts=[{"status": 500}] * ATTEMPTS, state="failed", error="provider_failed", calls=ATTEMPTS),
        Case(name="401", scripts=[{"status": 401}], state="failed", error="provider_refused"),
        Case(name="400", scripts=[{"status": 400}], state="failed", error="request_rejected"),
        Case(name="redirect", scripts=[{"status": 302, "headers": {"Location": "http://127.0.0.1:1/"}}], state="failed",
             error="provider_moved"),
    ]  # fmt: skip
    return await play_cases(rig, cases)


@fault("F14", "the provider refuses connections")
async def refuse(rig: Rig) -> str:
    await rig.provider_proxy.refuse()
    started = time.monotonic()
    asked, viewer = await rig.ask_scripted(model="proxied")
    state = await viewer.wait_end(asked.reply, REFUSED_S)
    took_s = time.monotonic() - started
    error = viewer.get(asked.reply).error
    promise((state, error) == ("failed", "provider_unreachable"), f"{state} {error}")
    await rig.provider_proxy.heal()
    await viewer.wait_end(await rig.api.retry(asked), 15)
    promise(viewer.get(asked.reply).state == "done", "Retry did not help after the provider's return")
    return f"failed after {took_s:.1f} s, Retry done"


@fault("F15", "the provider falls silent")
async def fall_silent(rig: Rig) -> str:
    cases = [
        Case(
            name="after some text",
            scripts=[{"text": "Three pieces of text and more", "chunk": 6, "hang_after": 4}],
            state="interrupted",
            error="provider_timed_out",
            least_s=IDLE_S,
            most_s=IDLE_S + SLACK_S,
            text="Three pieces of te",
        ),
        Case(
            name="before any",
            scripts=[{"hang": True}],
            state="failed",
            error="provider_timed_out",
            least_s=FIRST_TOKEN_S,
            most_s=FIRST_TOKEN_S + SLACK_S,
        ),
    ]
    return await play_cases(rig, cases)


@fault("F15b", "the provider's network freezes in mid-stream")
async def freeze_network(rig: Rig) -> str:
    asked, viewer = await rig.ask_scripted(model="proxied", seconds=10)
    await viewer.wait_length(asked.reply, 60)
    rig.provider_proxy.open_hole()
    frozen_at = time.monotonic()
    state = await viewer.wait_end(asked.reply, IDLE_S + SLACK_S)
    promise(state == "interrupted", f"the reply is {state}")
    await rig.provider_proxy.heal()
    return f"interrupted after {time.monotonic() - frozen_at:.1f} s"


@fault("F16", "the provider trickles")
async def trickle(rig: Rig) -> str:
    rig.provider_proxy.trickle_bytes_s = 250
    started = time.monotonic()
    asked, viewer = await rig.ask_scripted(model="proxied", seconds=20)
    other, watcher = await rig.ask(seconds=2)
    promise(await watcher.wait_end(other.reply, 10) == "done", "another person's reply waits for it")
    state = await viewer.wait_end(asked.reply, TOTAL_S + SLACK_S)
    took_s = time.monotonic() - started
    promise(state == "interrupted", f"the reply is {state}")
    promise(viewer.get(asked.reply).error == "provider_timed_out", f"its error is {viewer.get(asked.reply).error}")
    return f"interrupted after {took_s:.1f} s with {viewer.get(asked.reply).length} characters, others unaffected"


def frame(text: str) -> str:
    return build_chunk({"content": text}).decode("latin-1")


END = build_chunk({}, finish="stop").decode("latin-1") + "data: [DONE]\n\n"
HALF = 'data: {"choices":[{"delta":{"content":"\xc3"}}]}\n\n'
SPLIT = [frame("naïve 🦜")[at : at + 1] for at in range(len(frame("naïve 🦜")))]


def break_off(name: str, pieces: list[str]) -> Case:
    return Case(name=name, scripts=[{"raw": pieces}], state="interrupted", error="provider_broke", text="Good.")


@fault("F17", "the provider babbles and breaks off")
async def babble(rig: Rig) -> str:
    cases = [
        Case(name="bad JSON once", scripts=[{"raw": [frame("Good."), "data: {oops\n\n", END]}], state="done", text="Good."),
        break_off("bad JSON thrice", [frame("Good."), *["data: {oops\n\n"] * 3, END]),
        Case(name="CRLF mixed", scripts=[{"raw": [frame("Good.").replace("\n", "\r\n"), END]}], state="done", text="Good."),
        Case(name="byte by byte", scripts=[{"raw": [*SPLIT, END]}], state="done", text="naïve 🦜"),
        Case(name="half UTF-8", scripts=[{"raw": [frame("Good."), HALF, END]}], state="done", text="Good."),
        break_off("no end", [frame("Good.")]),
        Case(name="cut", scripts=[{"text": "Good. " * 100, "cut_after": 3000}], state="interrupted", error="provider_broke"),
        break_off("4 MB line", [frame("Good."), "data: " + "x" * 4_000_000, END]),
        Case(name="HTML page", scripts=[{"raw": ["<h1>Welcome</h1>"], "content_type": "text/html"}], state="failed",
             error="provider_broke"),
        Case(name="error in it", scripts=[{"raw": [frame("Good."), 'data: {"error": {"message": "x", "code": 500}}\n\n']}],
             state="interrupted", error="provider_failed", text="Good."),
    ]  # fmt: skip
    before = rig.find("replies").memory_info().rss
    told = await play_cases(rig, cases)
    grown_mb = (rig.find("replies").memory_info().rss - before) / 1e6
    promise(grown_mb < 100, f"the worker grew by {grown_mb:.0f} MB")
    return f"{told}; worker grew by {grown_mb:.0f} MB"


@fault("F17b", "the provider's connection is reset in mid-stream")
async def reset_provider(rig: Rig) -> str:
    rig.provider_proxy.cut_after = 8000
    asked, viewer = await rig.ask_scripted(model="proxied", seconds=8)
    state = await viewer.wait_end(asked.reply, 15)
    promise(state == "interrupted" and viewer.get(asked.reply).text, f"{state} with {viewer.get(asked.reply).length}")
    calls = len(await rig.fake.list_calls(asked.mark))
    promise(calls == 1, f"{calls} calls: after the first text there is no second one")
    return f"interrupted with {viewer.get(asked.reply).length} characters, 1 call"


@fault("F18", "odd ends: length, content filter, no usage")
async def end_oddly(rig: Rig) -> str:
    cases = [
        Case(name=reason, scripts=[{"text": "Some.", "finish": reason}], state="done", text="Some.",
             fields={"finish_reason": reason, "is_usage_estimated": False})
        for reason in ("length", "content_filter")
    ]  # fmt: skip
    estimated = {"is_usage_estimated": True}
    cases.append(Case(name="no usage", scripts=[{"text": "Some.", "usage": False}], state="done", fields=estimated))
    cases.append(Case(name="twice the same", scripts=[{"raw": [frame("A"), frame("A"), END]}], state="done", text="AA"))
    return await play_cases(rig, cases)
