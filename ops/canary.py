"""A watch inside each worker: does it still take tasks?

A Celery worker can come back from a lost broker connected, answering to remote control, and never take a task again; nobody
restarts it, since it looks alive. So each worker process has a queue of its own beside the others, which it takes from by the
same command over the same connection. A thread puts a canary there every 15 s; when none came back at 9 looks in a row, the
worker ends in order and its supervisor starts a new one.

The thread sends what it waits for, so it needs no beat, no sibling and nobody's clock. It counts its own looks instead of
seconds: a process that was frozen, or a machine that slept, has looked at nothing. A look does not count while the bus is
away or all slots are busy.
"""

import logging
import os
import signal
import threading
import time
from dataclasses import dataclass
from typing import Any, cast
from uuid import uuid4

from celery import bootsteps
from celery.worker import state
from django.conf import settings
from kombu.entity import Exchange, Queue
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from ops import bus

log = logging.getLogger(__name__)

LOOK_S = 5.0
LOOKS_A_CANARY = 3
# 45 s; the longest pause of Celery's between two attempts to reconnect is 30 s.
SILENT_LOOKS = 9
# As long as a supervisor would give it.
LEAVE_LIMIT_S = 35.0
TASK = "ops.tasks.answer_canary"
POOL = "celery.concurrency.thread"
AGES_KEY = "chatbox:ops:canaries"
FORGOTTEN_S = 3600
# A queue whose worker was killed while a canary was in it.
QUEUE_KEPT_S = 300


@dataclass(frozen=True, slots=True)
class Look:
    """What a worker looks like from inside at one moment. `has_answered`: since the look before."""

    has_answered: bool
    is_bus_there: bool
    is_full: bool


def count_silence(before: int, look: Look) -> int:
    """At how many looks in a row was there every reason to hear a canary, and none was heard?"""
    if look.has_answered or look.is_full or not look.is_bus_there:
        return 0
    return before + 1


class Perch:
    """Where the task that is the canary meets the thread that waits for it: one a process."""

    def __init__(self) -> None:
        self.answered_at = time.monotonic()
        self._has_answered = threading.Event()

    def answer(self) -> None:
        self.answered_at = time.monotonic()
        self._has_answered.set()

    def take(self) -> bool:
        """Was there an answer since the last time this was asked?"""
        has_answered = self._has_answered.is_set()
        self._has_answered.clear()
        return has_answered


perch = Perch()


class Watch(threading.Thread):
    """Looks at one worker until that worker leaves, or makes it leave."""

    def __init__(self, worker: Any, queue: Queue) -> None:
        super().__init__(name="canary", daemon=True)
        self._worker = worker
        self._queue = queue
        self._leaving = threading.Event()

    def run(self) -> None:
        silence, number = 0, 0
        while not self._leaving.wait(LOOK_S) and not is_leaving():
            silence = count_silence(silence, self._look_safely(must_send=number % LOOKS_A_CANARY == 0))
            number += 1
            if silence >= SILENT_LOOKS:
                log.error(
                    "this worker took no task at %d looks in a row, with the bus there and room to work: it ends", silence
                )
                end_in_order()
                return

    def leave(self) -> None:
        self._leaving.set()
        try:
            bus.get_client().zrem(AGES_KEY, self._worker.hostname)
        except (RedisError, OSError):
            log.info("the age of this worker's canary stays behind for an hour: the bus is away")

    def _look_safely(self, *, must_send: bool) -> Look:
        """A watch that fails is no reason to end anything, nor to stop watching."""
        try:
            return self._look(must_send=must_send)
        except Exception:
            log.exception("the canary could not be looked for")
            return Look(has_answered=False, is_bus_there=False, is_full=False)

    def _look(self, *, must_send: bool) -> Look:
        has_answered, is_full = perch.take(), is_busy(self._worker)
        is_bus_there = self._report() and (is_full or not must_send or self._send())
        return Look(has_answered, is_bus_there, is_full)

    def _report(self) -> bool:
        """Tell those who watch from outside, by the clock of the bus. Does it answer?"""
        try:
            client = bus.get_client()
            now = client.time()[0]
            client.zadd(AGES_KEY, {self._worker.hostname: now - (time.monotonic() - perch.answered_at)})
        except (RedisError, OSError):
            return False
        return True

    def _send(self) -> bool:
        """No expiry: a clock that jumps would make the canary look too old, and the queue is gone soon after its worker."""
        try:
            self._worker.app.send_task(TASK, queue=self._queue, retry=False)
            bus.get_client().expire(settings.BROKER_KEY_PREFIX + self._queue.name, QUEUE_KEPT_S)
        except (OperationalError, RedisError, OSError):
            return False
        return True


class CanaryStep(bootsteps.StartStopStep):
    """Celery's way to have this in a worker: `app.steps["worker"].add(CanaryStep)`."""

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        # With processes the answer would be given where the thread does not hear it.
        self.enabled = worker.pool_cls.__module__ == POOL
        self.watch: Watch | None = None
        if self.enabled:
            self.queue = build_queue(worker.hostname)
            worker.app.amqp.queues.consume_from[self.queue.name] = self.queue

    def start(self, worker: Any) -> None:
        self.watch = Watch(worker, self.queue)
        self.watch.start()

    def stop(self, worker: Any) -> None:
        if self.watch is not None:
            self.watch.leave()


def build_queue(hostname: str) -> Queue:
    """Of this process alone, even where two workers have the same name. Undeclared, since a binding would stay for ever."""
    name = f"canary.{hostname}.{uuid4().hex[:12]}"
    return Queue(name, Exchange(""), routing_key=name, no_declare=True)


def is_busy(worker: Any) -> bool:
    """A worker whose slots are all taken fetches nothing, and is well."""
    return bool(len(state.active_requests) >= worker.concurrency)


def is_leaving() -> bool:
    return state.should_stop is not None or state.should_terminate is not None


def end_in_order() -> None:
    """As when the supervisor says so: replies finish, or keep their text. But what is stuck may stay stuck, so not for ever."""
    timer = threading.Timer(LEAVE_LIMIT_S, os._exit, (1,))
    timer.daemon = True
    timer.start()
    os.kill(os.getpid(), signal.SIGTERM)


def list_ages() -> dict[str, float]:
    """Worker → seconds since it last answered its canary. Raises RedisError or OSError when the bus is away."""
    client = bus.get_client()
    now = client.time()[0]
    client.zremrangebyscore(AGES_KEY, "-inf", now - FORGOTTEN_S)
    rows = cast(list[tuple[str, float]], client.zrange(AGES_KEY, 0, -1, withscores=True))
    return {worker: max(0.0, now - answered_at) for worker, answered_at in rows}
