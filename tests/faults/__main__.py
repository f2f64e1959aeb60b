"""`python -m tests.faults`: break the running product in every way we know, and see that it keeps its promises.

Prints the seed first, then a line for each fault: its code, verdict, seconds, and what was seen. The exit status is 1 when a
promise was broken; a fault that this machine cannot play is skipped. Everything runs on loopback, in a directory of its own,
and ends by itself.
"""

import argparse
import asyncio
import random
import signal
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from functools import partial

from tests.faults import (  # noqa: F401 - they register their faults
    devices,
    engines,
    exhausted,
    front,
    misbehaving,
    people,
    sequence,
    unreachable,
    workers,
)
from tests.faults.catalog import FAULTS, Fault
from tests.faults.check import examine
from tests.faults.promises import Broken, Skipped
from tests.faults.rig import Rig

FAULT_LIMIT_S = 300
STEP_LIMIT_S = 20
STEPS, SHORT_STEPS = 200, 30


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--only", default="", help="codes, for example F4,F8; RANDOM is the random sequence")
    parser.add_argument("--steps", type=int, help=f"of the random sequence; {STEPS}, in a short run {SHORT_STEPS}")
    parser.add_argument("--short", action="store_true", help="shorter outages")
    parser.add_argument("--verbose", action="store_true", help="every step, and the logs' ends when a promise is broken")
    return parser.parse_args()


async def run(options: argparse.Namespace) -> int:
    """The number of broken promises."""
    end_on_signals()
    rig = Rig(seed=options.seed, is_short=options.short)
    broken = 0
    try:
        await rig.start()
        for code, title, play, limit_s in list_plays(rig, options):
            broken += not await judge(rig, code, title, play, limit_s, is_verbose=options.verbose)
    finally:
        await rig.stop()
    return broken


def end_on_signals() -> None:
    """In order, as after the last fault."""
    if task := asyncio.current_task():
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)


def list_plays(rig: Rig, options: argparse.Namespace) -> list[tuple[str, str, Callable[[], Awaitable[str]], float]]:
    steps = options.steps if options.steps is not None else SHORT_STEPS if options.short else STEPS
    say = print if options.verbose else lambda _: None
    plays: list[tuple[str, str, Callable[[], Awaitable[str]], float]] = [
        (fault.code, fault.title, partial(fault.play, rig), FAULT_LIMIT_S) for fault in sorted(FAULTS.values(), key=get_order)
    ]
    plays.append(("RANDOM", "a random life", lambda: sequence.play(rig, steps=steps, say=say), 60 + steps * STEP_LIMIT_S))
    wanted = set(options.only.split(",")) if options.only else {code for code, *_ in plays}
    return [play for play in plays if play[0] in wanted]


def get_order(fault: Fault) -> tuple[int, str]:
    number = fault.code[1:].rstrip("abcdefgh")
    return int(number), fault.code


async def judge(
    rig: Rig, code: str, title: str, play: Callable[[], Awaitable[str]], limit_s: float, *, is_verbose: bool
) -> bool:
    started = time.monotonic()
    verdict, told = "ok", ""
    try:
        async with asyncio.timeout(limit_s):
            told = await play()
            await rig.heal()
            told += "; " + await examine(rig)
    except Skipped as reason:
        verdict, told = "skipped", f"skipped: {reason}"
    except (Broken, TimeoutError) as error:
        verdict, told = "BROKEN", str(error) or f"not over within {limit_s:g} s"
    except Exception:
        verdict, told = "BROKEN", traceback.format_exc()
    print(f"{code:6} {verdict:7} {time.monotonic() - started:6.1f} s  {title}: {told}", flush=True)
    if verdict == "BROKEN":
        await recover(rig, is_verbose=is_verbose)
    await rig.close_viewers()
    return verdict != "BROKEN"


async def recover(rig: Rig, *, is_verbose: bool) -> None:
    """So that one broken promise does not break the next fault's."""
    if is_verbose:
        for name in ("replies", "jobs", "web", "supervisord"):
            print(f"--- {name}\n" + "\n".join(rig.read_log(name).splitlines()[-40:]))
    await rig.heal()
    deadline = time.monotonic() + 90
    while any(reply.is_live for reply in (await rig.rows.list_replies()).values()) and time.monotonic() < deadline:
        await asyncio.sleep(0.5)


def main() -> None:
    options = parse()
    print(f"seed {options.seed}", flush=True)
    started = time.monotonic()
    broken = asyncio.run(run(options))
    print(f"{broken or 'no'} broken promise{'s' * (broken != 1)}, {time.monotonic() - started:.0f} s, seed {options.seed}")
    sys.exit(bool(broken))


if __name__ == "__main__":
    main()
