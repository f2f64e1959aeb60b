"""Figures about calls of providers. Labels are our own error codes: few, and none that a provider could invent."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import Counter, Gauge, Histogram

from providers.errors import ProviderError

CALLS = Counter("chatbox_providers_calls", "Calls of a model, by how they ended.", ["outcome"])
RUNNING_CALLS = Gauge("chatbox_providers_running_calls", "Calls of a model that run now.")
FIRST_TOKEN_SECONDS = Histogram(
    "chatbox_providers_first_token_seconds",
    "From the call of a model to its first text, retries included.",
    buckets=(0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120),
)


class CallMeasure:
    """`outcome`: "done", "cancelled", the code of an error of the provider's, or "failed": an error of ours."""

    __slots__ = ("_started", "outcome")

    def __init__(self) -> None:
        self._started = time.monotonic()
        self.outcome = "failed"

    def mark_done(self) -> None:
        self.outcome = "done"

    def mark_cancelled(self) -> None:
        """Who leaves after the end has missed nothing."""
        if self.outcome != "done":
            self.outcome = "cancelled"

    def mark_first_token(self) -> None:
        FIRST_TOKEN_SECONDS.observe(time.monotonic() - self._started)


@contextmanager
def measure_call() -> Iterator[CallMeasure]:
    """Counts one call when it is over, however it ended."""
    measure = CallMeasure()
    RUNNING_CALLS.inc()
    try:
        yield measure
    except ProviderError as error:
        measure.outcome = error.code
        raise
    except (asyncio.CancelledError, GeneratorExit):
        measure.mark_cancelled()
        raise
    finally:
        RUNNING_CALLS.dec()
        CALLS.labels(measure.outcome).inc()
