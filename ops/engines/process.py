"""Starting, awaiting and ending one engine process; telling a live one from a stale pid."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO

import psutil

from ops.engines.errors import EngineFailed, read_tail

# Ask soon at first, then less often: on a busy machine the asking itself would slow what we wait for.
FIRST_POLL_S = 0.02
LAST_POLL_S = 0.25


def spawn(
    argv: Sequence[str], *, log: Path, env: dict[str, str] | None = None, cwd: Path | None = None
) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own, so that a terminal's Ctrl-C stays with us."""
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open_log(log) as output:
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=env,
            cwd=cwd,
            start_new_session=True,
        )


def open_log(log: Path) -> BinaryIO:
    """Open a log to add to it. A new one is for us alone, whatever our umask is."""
    return open(log, "ab", opener=partial(os.open, mode=0o600))


def wait_until(
    probe: Callable[[], bool],
    *,
    name: str,
    timeout_s: float,
    log: Path | None = None,
    is_alive: Callable[[], bool] = lambda: True,
) -> None:
    """Return as soon as `probe` is true. Raises EngineFailed when it ends or time is over."""
    deadline = time.monotonic() + timeout_s
    poll_s = FIRST_POLL_S
    while not probe():
        if not is_alive():
            raise describe_failure(f"{name} ended while starting.", log=log)
        if time.monotonic() > deadline:
            raise describe_failure(f"{name} was not ready after {timeout_s:.0f} s.", log=log)
        time.sleep(poll_s)
        poll_s = min(LAST_POLL_S, poll_s * 1.2)


def end(process: subprocess.Popen[bytes], *, with_signal: signal.Signals, timeout_s: float) -> None:
    """Ask a child to end, kill it when it has not after `timeout_s`; returns when it is gone."""
    if process.poll() is None:
        process.send_signal(with_signal)
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def end_stranger(process: psutil.Process, *, with_signal: signal.Signals, timeout_s: float) -> None:
    """The same for a process that an earlier, dead run of ours left behind."""
    try:
        process.send_signal(with_signal)
        process.wait(timeout_s)
    except psutil.NoSuchProcess:
        return
    except psutil.TimeoutExpired:
        process.kill()
        process.wait(timeout_s)


def find_recorded(pid: int, *, started_at: float, tolerance_s: float = 10.0) -> psutil.Process | None:
    """Return the live process with this id if it began at `started_at` (seconds since 1970).

    A pid alone proves nothing: after a restart of the machine it belongs to somebody else.
    """
    try:
        process = psutil.Process(pid)
        began_at = process.create_time()
    except psutil.Error:
        return None
    is_same = abs(began_at - started_at) <= tolerance_s and process.pid != os.getpid()
    return process if is_same else None


def describe_failure(sentence: str, *, log: Path | None) -> EngineFailed:
    """Return the error that says `sentence` and quotes the end of the log."""
    tail = read_tail(log) if log else ""
    return EngineFailed(f"{sentence} Its log {log} ends:\n{tail}" if tail else sentence, log=log)
