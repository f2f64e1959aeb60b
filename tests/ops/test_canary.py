"""When a worker is judged to take no tasks any more, and what is told of it."""

import logging
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from kombu.exceptions import OperationalError

from chatbox.celery import app
from ops import bus, canary, tasks
from ops.canary import Look, Watch, count_silence

SILENT = Look(has_answered=False, is_bus_there=True, is_full=False)
ANSWERED = Look(has_answered=True, is_bus_there=True, is_full=False)
FULL = Look(has_answered=False, is_bus_there=True, is_full=True)
AWAY = Look(has_answered=False, is_bus_there=False, is_full=False)


@dataclass
class StandInApp:
    """Delivers a canary to a worker that takes it, or not."""

    takes: bool = True
    is_reachable: bool = True
    sent: list[str] = field(default_factory=list)

    def send_task(self, name: str, *, queue: Any, retry: bool) -> None:
        assert not retry
        if not self.is_reachable:
            raise OperationalError
        self.sent.append(queue.name)
        if self.takes:
            tasks.answer_canary()


@dataclass
class StandInWorker:
    app: StandInApp = field(default_factory=StandInApp)
    hostname: str = "replies@tests"
    concurrency: int = 2


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInWorker]:
    monkeypatch.setattr(canary, "perch", canary.Perch())
    monkeypatch.setattr(canary, "LOOK_S", 0.001)
    yield StandInWorker()
    bus.get_client().delete(canary.AGES_KEY)


@pytest.fixture
def told_to_go(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    told = threading.Event()
    monkeypatch.setattr(canary, "end_in_order", told.set)
    return told


def watch(worker: StandInWorker) -> Watch:
    return Watch(worker, canary.build_queue(worker.hostname))


def count(looks: list[Look]) -> int:
    silence = 0
    for look in looks:
        silence = count_silence(silence, look)
    return silence


def test_silence_is_counted_only_in_a_row() -> None:
    assert count([SILENT] * 8) == 8
    assert count([SILENT] * 8 + [ANSWERED] + [SILENT] * 3) == 3


@pytest.mark.parametrize("excuse", [FULL, AWAY], ids=["all slots are busy", "the bus is away"])
def test_excuse_begins_the_count_anew(excuse: Look) -> None:
    assert count([SILENT] * 8 + [excuse]) == 0
    assert count([SILENT, excuse] * 50) <= 1


def test_a_bus_that_returns_leaves_time_to_reconnect() -> None:
    """Celery's longest pause between two attempts is 30 s."""
    assert (canary.SILENT_LOOKS - 1) * 5 > 30
    assert count([AWAY] * 100 + [SILENT] * 6 + [ANSWERED]) == 0


def test_worker_that_takes_nothing_is_told_to_go(
    worker: StandInWorker, told_to_go: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    worker.app.takes = False
    it = watch(worker)
    it.run()
    assert told_to_go.is_set()
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert len(worker.app.sent) == canary.SILENT_LOOKS // canary.LOOKS_A_CANARY


@pytest.mark.parametrize("trouble", ["none", "full", "away"])
def test_worker_that_is_well_busy_or_cut_off_goes_on(
    worker: StandInWorker, told_to_go: threading.Event, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    worker.app.takes = trouble == "none"
    worker.app.is_reachable = trouble != "away"
    monkeypatch.setattr(canary, "is_busy", lambda _: trouble == "full")
    it, looks = watch(worker), iter(range(50))
    monkeypatch.setattr(canary, "is_leaving", lambda: next(looks, None) is None)
    it.run()
    assert not told_to_go.is_set()
    assert not (trouble == "full" and worker.app.sent), "canaries pile up in front of a busy worker"


def test_lost_canary_is_followed_by_another(worker: StandInWorker, told_to_go: threading.Event) -> None:
    """A bus that forgets everything has forgotten the canary, too."""
    worker.app.takes = False
    it = watch(worker)
    looks = [it._look(must_send=number % 3 == 0) for number in range(4)]
    worker.app.takes = True
    looks += [it._look(must_send=number % 3 == 0) for number in range(4, 8)]
    assert count(looks) < 3
    assert not told_to_go.is_set()


def test_end_is_the_one_that_the_supervisor_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canary, "LEAVE_LIMIT_S", 3600)
    told = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: told.set())
    try:
        canary.end_in_order()
        assert told.wait(5)
    finally:
        signal.signal(signal.SIGTERM, before)
        next(thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)).cancel()


def test_canaries_queue_is_private_and_leaves_nothing_behind() -> None:
    one, other = (canary.build_queue("replies@same-name") for _ in range(2))
    assert one.name != other.name
    with app.connection_for_write() as connection:
        app.send_task(canary.TASK, queue=one, connection=connection)
    key = settings.BROKER_KEY_PREFIX + one.name
    assert bus.get_client().llen(key) == 1
    assert not [name for name in bus.get_client().keys("*binding*") if one.name in str(bus.get_client().smembers(name))]
    bus.get_client().delete(key)


@pytest.mark.django_db
def test_age_is_a_metric_until_the_worker_leaves(worker: StandInWorker, client: Client) -> None:
    it = watch(worker)
    canary.perch.answered_at -= 40
    it._look(must_send=False)
    line = next(line for line in read_metrics(client) if line.startswith("chatbox_ops_canary_age_seconds{"))
    assert line.startswith('chatbox_ops_canary_age_seconds{worker="replies@tests"} ')
    assert 39 <= float(line.split()[-1]) <= 42
    it.leave()
    assert not [line for line in read_metrics(client) if line.startswith("chatbox_ops_canary_age_seconds{")]


def read_metrics(client: Client) -> list[str]:
    return client.get("/metrics", REMOTE_ADDR="127.0.0.1").content.decode().splitlines()


def test_a_look_that_fails_ends_neither_the_worker_nor_the_watch(
    worker: StandInWorker, told_to_go: threading.Event, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    it, looks = watch(worker), iter(range(20))

    def fail(_: Any) -> bool:
        if next(looks) == 19:
            it.leave()
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(canary, "is_busy", fail)
    it.run()
    assert next(looks, None) is None
    assert not told_to_go.is_set()
    assert "could not be looked for" in caplog.text
