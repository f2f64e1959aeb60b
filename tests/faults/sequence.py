"""A random life: people send, stop, retry and reconnect while things break. The seed decides everything but the timing."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable

from ops.engines import supervisor
from tests.faults.api import Asked
from tests.faults.check import examine
from tests.faults.promises import promise, until
from tests.faults.rig import Rig

EXAMINED_EVERY = 10
CONVERSATIONS = 6
Step = Callable[["Life"], Awaitable[None]]


class Life:
    """Up to six conversations with two devices each: one shows text, the other HTML."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.conversations: dict[str, list[Asked]] = {}

    def choose(self) -> Asked:
        return self.rig.random.choice([asked for several in self.conversations.values() for asked in several])


async def send(life: Life) -> None:
    rig = life.rig
    if len(life.conversations) < CONVERSATIONS:
        conversation = await rig.api.open()
        rig.watch(conversation)
        rig.watch_page(conversation)
        life.conversations[conversation] = []
    conversation = rig.random.choice(list(life.conversations))
    await wait_free(life, conversation)
    question = rig.write_question(seconds=rig.random.uniform(1, 6))
    life.conversations[conversation].append(await rig.api.send(question, conversation=conversation))


async def wait_free(life: Life, conversation: str) -> None:
    for asked in life.conversations[conversation]:
        for reply in asked.replies:
            deadline = time.monotonic() + 60
            while (await life.rig.api.read(reply))["state"] in ("queued", "streaming"):
                promise(time.monotonic() < deadline, f"{reply} does not end")
                await asyncio.sleep(0.3)


async def stop(life: Life) -> None:
    status = await life.rig.api.stop(life.choose().reply)
    promise(status in (202, 409), f"stop → {status}")


async def retry(life: Life) -> None:
    asked = life.choose()
    await wait_free(life, asked.conversation)
    await life.rig.api.retry(asked)


async def reconnect(life: Life) -> None:
    life.rig.random.choice(life.rig.viewers).drop()


async def pause(life: Life) -> None:
    await asyncio.sleep(life.rig.random.uniform(0.2, 2))


async def kill(life: Life) -> None:
    name = life.rig.random.choice(["replies", "web", "jobs"])
    old = life.rig.find(name)
    old.kill()
    await life.rig.wait_restarted(name, old)


async def freeze(life: Life) -> None:
    process = life.rig.find(life.rig.random.choice(["replies", "web", "jobs"]))
    process.send_signal(signal.SIGSTOP)
    await asyncio.sleep(life.rig.random.uniform(0.5, 4))
    process.send_signal(signal.SIGCONT)


async def reset(life: Life) -> None:
    life.rig.bus_proxy.reset()


async def flush(life: Life) -> None:
    life.rig.ask_bus("FLUSHALL")


async def restart_bus(life: Life) -> None:
    life.rig.stop_bus()
    await asyncio.sleep(life.rig.random.uniform(0.1, 4))
    life.rig.start_bus()


async def open_hole(life: Life) -> None:
    life.rig.bus_proxy.open_hole()
    await asyncio.sleep(life.rig.random.uniform(0.5, 5))
    await life.rig.bus_proxy.heal()


async def restart_database(life: Life) -> None:
    run = life.rig.run
    await asyncio.to_thread(supervisor.stop_program, run, "postgres")
    await until(lambda: supervisor.has_ended(run, "postgres"), 15, "the end of the database")
    await asyncio.to_thread(supervisor.start_program, run, "postgres")
    await life.rig.rows.wait_ready()


PEACE: dict[Step, int] = {send: 10, stop: 2, retry: 3, reconnect: 4, pause: 6}
HARM: dict[Step, int] = {kill: 2, freeze: 2, reset: 2, flush: 2, restart_bus: 1, open_hole: 1, restart_database: 1}


async def play(rig: Rig, *, steps: int, say: Callable[[str], None]) -> str:
    """Raises Broken with the step's number. One step in four breaks something; every tenth is followed by an examination."""
    life = Life(rig)
    counts: dict[str, int] = {}
    for number in range(1, steps + 1):
        step = choose_step(life)
        counts[step.__name__] = counts.get(step.__name__, 0) + 1
        say(f"  step {number}: {step.__name__}")
        await step(life)
        if number % EXAMINED_EVERY == 0 or number == steps:
            await examine(rig)
    return f"{steps} steps, {len(rig.api.asked)} questions, " + ", ".join(f"{n} {name}" for name, n in sorted(counts.items()))


def choose_step(life: Life) -> Step:
    choice = life.rig.random
    if not any(life.conversations.values()):
        return send
    steps = HARM if choice.random() < 0.25 else PEACE
    return choice.choices(list(steps), weights=list(steps.values()))[0]
