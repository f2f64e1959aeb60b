"""The Celery application, the beat that runs as a thread of one worker (`--with-beat`), and each worker's canary."""

import logging
import os
from typing import Any, cast

import redis.exceptions
from celery import Celery, bootsteps
from celery.beat import EmbeddedService
from celery.signals import worker_init, worker_ready
from click import Option
from kombu.transport import redis as redis_transport
from kombu.transport import virtual

from ops import interpreter
from ops.canary import CanaryStep
from ops.checks import refuse_unsafe_settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatbox.settings")
log = logging.getLogger(__name__)


class Unfinished(virtual.QoS):
    """What a worker has taken and not finished. It alone knows, and gives it back when it goes in order.

    What dies with a worker is found by its row: the lease of a reply, the schedule of a job. kombu's own list on the bus would
    bring it back an hour later, and costs each task two transactions.
    """

    def restore_visible(self, **_: Any) -> None:
        """There is nothing on the bus that could have been forgotten."""

    def restore_unacked(self) -> list[Any]:
        """What cannot be given back, since the bus is away, is let go; kombu would write it to a file in the temp directory."""
        cast(Any, super())._flush()
        try:
            while self._delivered:
                self.channel._restore(self._delivered.popitem()[1])
        except (*self.channel.connection_errors, OSError):
            log.warning("%d unfinished tasks could not be given back to the bus", len(self._delivered) + 1)
            self._delivered.clear()
        return []


class Channel(redis_transport.Channel):
    """kombu's channel, mended in two places.

    One that has lost its connection says so with the error that Celery expects. kombu 5.7 raises AttributeError there, when
    what is unacknowledged is given back and when a task that outlived the connection is acknowledged. For Celery that is
    unrecoverable: the worker takes nothing more and ends.

    And it keeps its client. kombu makes one for each command, which costs more than the command.
    """

    _kept_client: Any = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        cast(Any, super()).__init__(*args, **kwargs)
        self.QoS: Any = Unfinished

    def _connparams(self, asynchronous: bool = False) -> Any:
        if self.connection is None or self.connection.client is None:
            raise redis.exceptions.ConnectionError("the connection of this channel is gone")
        return cast(Any, super())._connparams(asynchronous=asynchronous)

    def _create_client(self, asynchronous: bool = False) -> Any:
        if asynchronous:
            return cast(Any, super())._create_client(asynchronous=True)
        client = self._kept_client
        if client is None or client.connection_pool is not self.pool:
            client = self._kept_client = cast(Any, super())._create_client()
        return client


redis_transport.Transport.Channel = Channel

app = Celery("chatbox")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.user_options["worker"].add(Option(["--with-beat"], is_flag=True, default=False, help="Run the schedule in this worker."))


@worker_init.connect
def refuse_to_start_unsafe(**_: Any) -> None:
    """Celery prints what the checks find and goes on; a worker with a default key must not."""
    refuse_unsafe_settings()


@worker_ready.connect
def settle_interpreter(**_: Any) -> None:
    interpreter.settle()


class BeatThread(bootsteps.StartStopStep):
    """Runs the schedule in a thread: a killed worker then leaves no second process that goes on scheduling."""

    def __init__(self, worker: Any, with_beat: bool = False, **options: Any) -> None:
        super().__init__(worker, **options)
        self.enabled = with_beat
        self.service: Any = None

    def start(self, worker: Any) -> None:
        self.service = EmbeddedService(worker.app, thread=True, scheduler_cls="celery.beat:Scheduler")
        self.service.daemon = True
        self.service.start()

    def stop(self, worker: Any) -> None:
        if self.service is not None:
            self.service.stop()


app.steps["worker"].add(BeatThread)
app.steps["worker"].add(CanaryStep)
