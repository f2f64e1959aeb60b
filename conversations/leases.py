"""Who may write a reply, and until when. Every write names the epoch of its lease, so what lost its lease writes nothing.

All moves of a reply's state are conditional UPDATEs in this module; time is the database's.
"""

from dataclasses import dataclass
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now

from conversations.models import Message, State
from conversations.stream import log
from conversations.stream.live import LiveReply
from providers.types import Usage


@dataclass(frozen=True, slots=True)
class Ending:
    """How a reply ended."""

    state: State
    finish_reason: str = ""
    usage: Usage | None = None
    error_code: str = ""
    error_message: str = ""
    is_error_retryable: bool = False

    @property
    def error(self) -> dict[str, str | bool] | None:
        if not self.error_code:
            return None
        return {"code": self.error_code, "message": self.error_message, "retryable": self.is_error_retryable}


INTERRUPTED = Ending(
    State.INTERRUPTED,
    error_code="interrupted",
    error_message="The answer broke off because Chatbox was restarted.",
    is_error_retryable=True,
)


# One statement, since a hundred replies a second may start: the ORM takes three times as long to write it as to run it.
CLAIM_SQL = """
UPDATE conversations_message AS message
   SET state = 'streaming', lease_epoch = lease_epoch + 1, lease_until = now() + make_interval(secs => %s), started_at = now()
 WHERE message.id = %s AND message.state = 'queued' AND NOT message.stop_requested
   AND NOT EXISTS (
       SELECT FROM conversations_message AS parent JOIN conversations_message AS before ON before.id = parent.parent_id
        WHERE parent.id = message.parent_id AND before.state IN ('queued', 'streaming')
   )
RETURNING message.*
"""


def claim(reply_id: UUID) -> Message | None:
    """Take a queued reply. None when it is not queued any more (a second delivery of its task then does nothing), or has to
    wait for the reply before it.
    """
    return next(iter(Message.objects.raw(CLAIM_SQL, [settings.REPLY_LEASE_S, reply_id])), None)


WAITING_SQL = """
SELECT waiting.id
  FROM conversations_message AS waiting JOIN conversations_message AS question ON question.id = waiting.parent_id
 WHERE waiting.state = 'queued' AND question.parent_id = %s
"""


def list_waiting(reply_id: UUID) -> list[UUID]:
    """Replies that could not be claimed before this one had ended."""
    with connection.cursor() as cursor:
        cursor.execute(WAITING_SQL, [reply_id])
        return [row[0] for row in cursor.fetchall()]


# A row that somebody has locked is passed over: its lease may wait for the next second, the others' may not wait for it.
CHECKPOINT_SQL = """
WITH live AS (
    SELECT * FROM unnest(%s::uuid[], %s::int[], %s::text[], %s::text[], %s::timestamptz[])
               AS live (id, epoch, text, reasoning, first_token_at)
), held AS (
    SELECT message.id
      FROM conversations_message AS message JOIN live ON message.id = live.id AND message.lease_epoch = live.epoch
     WHERE message.state = 'streaming'
       FOR UPDATE OF message SKIP LOCKED
)
UPDATE conversations_message AS message
   SET text = COALESCE(live.text, message.text),
       reasoning = COALESCE(live.reasoning, message.reasoning),
       first_token_at = COALESCE(message.first_token_at, live.first_token_at),
       lease_until = now() + make_interval(secs => %s)
  FROM live, held
 WHERE message.id = live.id AND held.id = live.id
RETURNING message.id, message.stop_requested
"""


def checkpoint(replies: list[LiveReply]) -> dict[UUID, bool]:
    """Write the text of these replies and renew their leases, in one statement.

    Returns id → whether its stop was asked for. An id that is missing has lost its lease.
    """
    try:
        return _write_checkpoint(replies)
    finally:
        connection.close()


def _write_checkpoint(replies: list[LiveReply]) -> dict[UUID, bool]:
    texts = [(reply, reply.text, reply.reasoning) for reply in replies]
    news = [len(text) + len(reasoning) != reply.checkpointed_length for reply, text, reasoning in texts]
    columns = (
        [reply.id for reply in replies],
        [reply.epoch for reply in replies],
        [text if is_new else None for (_, text, _), is_new in zip(texts, news, strict=True)],
        [reasoning if is_new else None for (_, _, reasoning), is_new in zip(texts, news, strict=True)],
        [reply.first_token_at for reply in replies],
    )
    with connection.cursor() as cursor:
        cursor.execute(CHECKPOINT_SQL, [*columns, settings.REPLY_LEASE_S])
        answers: dict[UUID, bool] = dict(cursor.fetchall())
    for reply, text, reasoning in texts:
        if reply.id in answers:
            reply.checkpointed_length = len(text) + len(reasoning)
    return answers | {reply.id: False for reply in replies if reply.id not in answers and _is_held(reply)}


def _is_held(reply: LiveReply) -> bool:
    """Is the lease ours, though its row could not be written now?"""
    return Message.objects.filter(id=reply.id, lease_epoch=reply.epoch, state=State.STREAMING).exists()


SETTLE_SQL = """
UPDATE conversations_message
   SET text = %s, reasoning = %s, first_token_at = %s, prompt_tokens = %s, completion_tokens = %s, is_usage_estimated = %s,
       state = %s, finish_reason = %s, error_code = %s, error_message = %s, is_error_retryable = %s,
       lease_until = NULL, finished_at = now()
 WHERE id = %s AND lease_epoch = %s AND state = 'streaming'
"""


def settle(live: LiveReply, ending: Ending) -> bool:
    """Write the whole text and the end. False: the lease was lost, and nothing was written."""
    usage = ending.usage
    counts = (usage.prompt_tokens, usage.completion_tokens, usage.is_estimated) if usage else (None, None, False)
    end = (ending.state, ending.finish_reason[:40], ending.error_code, ending.error_message[:300], ending.is_error_retryable)
    with connection.cursor() as cursor:
        cursor.execute(SETTLE_SQL, [live.text, live.reasoning, live.first_token_at, *counts, *end, live.id, live.epoch])
        return bool(cursor.rowcount)


def _build_end_fields(ending: Ending) -> dict[str, object]:
    return {
        "state": ending.state,
        "finish_reason": ending.finish_reason[:40],
        "error_code": ending.error_code,
        "error_message": ending.error_message[:300],
        "is_error_retryable": ending.is_error_retryable,
        "lease_until": None,
        "finished_at": Now(),
    }


def stop_queued(message: Message) -> bool:
    """End a reply that no worker has taken yet. False: one has."""
    stopped = Message.objects.filter(id=message.id, state=State.QUEUED).update(**_build_end_fields(Ending(State.STOPPED)))
    return bool(stopped)


def has_database_settled() -> bool:
    """Has the database been up for a whole lease? Before that an expired one only says that nobody could renew it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT now() - pg_postmaster_start_time() > make_interval(secs => %s)", [settings.REPLY_LEASE_S])
        return bool(cursor.fetchone()[0])


def list_expired() -> QuerySet[Message]:
    """Replies whose worker has been silent for the length of a lease."""
    return Message.objects.filter(Q(state=State.STREAMING) & (Q(lease_until__lt=Now()) | Q(lease_until=None)))


def interrupt(message: Message) -> bool:
    """End a dead reply with the longest text known of it, and fence its worker should it wake up."""
    live = log.read(message.id)
    if live is not None and live.length > message.length:
        message.text, message.reasoning = live.text, live.reasoning
    interrupted = (
        list_expired()
        .filter(id=message.id, lease_epoch=message.lease_epoch)
        .update(
            text=message.text,
            reasoning=message.reasoning,
            lease_epoch=F("lease_epoch") + 1,
            **_build_end_fields(INTERRUPTED),
        )
    )
    return bool(interrupted)
