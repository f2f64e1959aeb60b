"""What may never break, whatever happened. A broken promise is a `Broken` with one sentence."""

import asyncio
import time
from collections.abc import Callable
from typing import Any


class Broken(Exception):
    """The product did not keep a promise."""


class Skipped(Exception):
    """A fault that cannot be played on this machine, and why. Neither kept nor broken."""


def promise(claim: object, told: str) -> None:
    if not claim:
        raise Broken(told)


async def until(claim: Callable[[], Any], timeout_s: float, told: str) -> float:
    """Poll until it holds; the seconds that took."""
    started = time.monotonic()
    while not claim():
        promise(time.monotonic() - started < timeout_s, f"not within {timeout_s:g} s: {told}")
        await asyncio.sleep(0.02)
    return time.monotonic() - started
