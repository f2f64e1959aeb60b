"""One loop a process, and what it leaves behind."""

import asyncio
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from providers import runtime

LEAVING = """
import asyncio
from providers import runtime

async def wait():
    try:
        await asyncio.Event().wait()
    finally:
        print("closed", flush=True)

@runtime.at_close
async def close():
    print("at close", flush=True)

runtime.submit(wait())
runtime.run(asyncio.sleep(0))
"""


def test_all_threads_share_one_loop() -> None:
    with ThreadPoolExecutor(8) as threads:
        loops = set(threads.map(lambda _: runtime.get_loop(), range(50)))
    assert len(loops) == 1


def test_a_coroutine_runs_on_the_loop_s_own_thread() -> None:
    async def name_thread() -> str:
        assert asyncio.get_running_loop() is runtime.get_loop()
        return threading.current_thread().name

    assert runtime.run(name_thread()) == "providers-loop"


def test_errors_come_back_to_the_caller() -> None:
    async def fail() -> None:
        raise LookupError("lost")

    with pytest.raises(LookupError, match="lost"):
        runtime.run(fail())


def test_a_cancelled_future_cancels_its_coroutine() -> None:
    started, ended = threading.Event(), threading.Event()

    async def wait() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    future = runtime.submit(wait())
    assert started.wait(5)
    future.cancel()
    assert ended.wait(5)


def test_the_end_of_the_process_ends_streams_first_and_then_sessions() -> None:
    process = subprocess.run([sys.executable, "-c", LEAVING], capture_output=True, text=True, timeout=30, check=True)
    assert process.stdout.split("\n") == ["closed", "at close", ""]
    assert process.stderr == ""
