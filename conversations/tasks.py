"""Celery's doors. The row of a reply is the truth; a task is only a hint that there is something to do."""

import logging
import threading
from datetime import timedelta
from typing import Any
from uuid import UUID

from celery import shared_task
from celery.signals import worker_shutting_down
from django.db.models import F, Value
from django.db.models.functions import Greatest, Now
from kombu.exceptions import OperationalError as BrokerError
from redis.exceptions import RedisError

from conversations import generation, leases
from conversations.models import IdempotencyKey, Message, State
from conversations.stream import log as live_log
from conversations.stream.reading import build_end

log = logging.getLogger(__name__)
LOST_AFTER = timedelta(seconds=15)
KEYS_KEPT = timedelta(hours=24)
DRAIN_S = 20.0


@shared_task
def generate_reply(reply_id: str) -> None:
    generation.run(UUID(reply_id))
    enqueue_waiting(UUID(reply_id))


def enqueue_waiting(reply_id: UUID) -> None:
    """What was asked while this reply was written is next."""
    for waiting in leases.list_waiting(reply_id):
        enqueue(waiting)


def enqueue(reply_id: UUID) -> None:
    """Hand a stored reply to the workers. With the broker away the sweeper does it later."""
    try:
        generate_reply.apply_async([str(reply_id)], retry=False)
    except (BrokerError, RedisError, OSError) as error:
        log.warning("reply %s waits for the sweeper: %s", reply_id, error)


@shared_task
def end_dead_replies() -> None:
    """End what a killed worker has left, with its text. Its viewers are told."""
    for message in leases.list_expired() if leases.has_database_settled() else ():
        if leases.interrupt(message):
            log.warning("reply %s was interrupted: its worker went silent", message.id)
            message.refresh_from_db()
            live_log.fence(message.id, epoch=message.lease_epoch)
            live_log.publish(message.conversation_id, build_end(message))
            enqueue_waiting(message.id)


@shared_task
def requeue_lost_replies() -> None:
    """Queue again what the broker lost, after 15 s, 30 s, 60 s …: a long queue is not a lost one, and doubling it helps nobody.

    A reply that is queued twice is claimed once. One that was withdrawn by a process that died then is never claimed: it ends.
    """
    end_withdrawn_replies()
    patience = Greatest(Value(LOST_AFTER), F("enqueued_at") - F("created_at"))
    lost = Message.objects.filter(state=State.QUEUED, enqueued_at__lt=Now() - patience)
    for reply_id in list(lost.values_list("id", flat=True)):
        enqueue(reply_id)
        Message.objects.filter(id=reply_id).update(enqueued_at=Now())


def end_withdrawn_replies() -> None:
    withdrawn = Message.objects.filter(state=State.QUEUED, stop_requested=True, enqueued_at__lt=Now() - LOST_AFTER)
    for message in withdrawn:
        if leases.stop_queued(message):
            message.refresh_from_db()
            live_log.publish(message.conversation_id, build_end(message))
            enqueue_waiting(message.id)


@shared_task
def forget_old_keys() -> None:
    IdempotencyKey.objects.filter(created_at__lt=Now() - KEYS_KEPT).delete()


@worker_shutting_down.connect
def end_replies_before_grace(**_: Any) -> None:
    """A worker that is told to go lets its replies finish; what still runs after 20 s ends as interrupted, with its text."""
    timer = threading.Timer(DRAIN_S, generation.interrupt_all)
    timer.daemon = True
    timer.start()
