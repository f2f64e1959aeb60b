"""The life of one reply, in six stages. Read `run` from top to bottom.

context     claim the reply under a lease, load what it needs
normalise   history → the turns that fit the model's window
policy      may this model be used, now, by this person
execute     the provider's stream → live text
compose     the final row, then its announcement
telemetry   metrics and one log line
"""

import asyncio
import contextlib
import logging
import time
from dataclasses import asdict, dataclass, replace
from functools import cache
from uuid import UUID

from django.conf import settings
from django.db import OperationalError, connection
from psycopg_pool import PoolTimeout

from conversations import leases, metrics, prompt, queries
from conversations.errors import DatabaseAway, ReplyBroke
from conversations.leases import Ending
from conversations.models import Message, State
from conversations.stream import frames
from conversations.stream.flusher import Flusher
from conversations.stream.keeper import Keeper
from conversations.stream.live import LiveReply
from ops.errors import ChatboxError
from providers import catalog, chat, runtime
from providers import queries as providers
from providers.errors import ModelUnavailable, ProviderBroke, ProviderError
from providers.models import ChatModel
from providers.types import ChatRequest, Done, ReasoningDelta, TextDelta, Usage

log = logging.getLogger(__name__)
SETTLE_PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Job:
    """A claimed reply. Its live text exists from the start, so that whatever fails ends it properly; a reply that continues
    another one starts with that one's text.
    """

    reply: Message
    live: LiveReply


def run(reply_id: UUID) -> None:
    """Write one reply, from the queue to its end. Does nothing for a reply that is not queued any more."""
    job = load_context(reply_id)
    if job is None:
        return
    try:
        request = normalise(job)
        check_policy(job)
        ending = execute(job, request)
    except ChatboxError as error:
        ending = build_failure(job.live, error)
    except (OperationalError, PoolTimeout) as error:
        ending = build_failure(job.live, DatabaseAway(detail=str(error)))
    except Exception:
        log.exception("reply %s failed unexpectedly", reply_id)
        ending = build_failure(job.live, ReplyBroke())
    if compose(job, ending):
        record(job, ending)


def load_context(reply_id: UUID) -> Job | None:
    reply = leases.claim(reply_id)
    if reply is None:
        return None
    live = LiveReply(
        id=reply.id,
        conversation_id=reply.conversation_id,
        epoch=reply.lease_epoch,
        text=reply.text,
        reasoning=reply.reasoning,
    )
    return Job(reply, live)


def normalise(job: Job) -> ChatRequest:
    """Raises ModelUnavailable when the model's row is gone."""
    model = get_model(job)
    history = queries.list_history(reply=job.reply)
    turns = prompt.build_turns(
        history,
        system_prompt=model.system_prompt,
        budget_tokens=model.context_tokens - model.max_output_tokens,
        continued=job.reply.text,
    )
    return ChatRequest(model_id=model.id, turns=turns, max_output_tokens=model.max_output_tokens)


def get_model(job: Job) -> ChatModel:
    model = catalog.find_model(job.reply.model_id) if job.reply.model_id else None
    if model is None:
        raise ModelUnavailable
    return model


def check_policy(job: Job) -> None:
    """Raises ModelUnavailable when the model was switched off since the message was sent."""
    if not providers.is_usable(get_model(job)):
        raise ModelUnavailable(detail=str(job.reply.model_id))


def execute(job: Job, request: ChatRequest) -> Ending:
    """No database connection is held while the provider writes."""
    connection.close()
    return runtime.run(_write(job.live, request))


async def _write(live: LiveReply, request: ChatRequest) -> Ending:
    flusher = get_flusher()
    flusher.open(live)
    if get_keeper().is_stopped_early(live):
        return Ending(State.STOPPED)
    try:
        return await _consume(live, request, flusher)
    except (asyncio.CancelledError, ProviderError) as error:
        return replace(_explain(live, error), usage=_estimate_usage(live, request))
    finally:
        live.task = None
        await flusher.drain(live)


async def _consume(live: LiveReply, request: ChatRequest, flusher: Flusher) -> Ending:
    usage: Usage | None = None
    async with contextlib.aclosing(chat.stream(request)) as events:
        async for event in events:
            match event:
                case TextDelta(text):
                    flusher.append(live, "text", clean(text))
                case ReasoningDelta(text):
                    flusher.append(live, "reasoning", clean(text))
                case Usage():
                    usage = event
                case Done(reason):
                    return Ending(State.DONE, finish_reason=reason, usage=usage)
            if live.length > settings.REPLY_MAX_CHARACTERS:
                return Ending(State.DONE, finish_reason="length", usage=_estimate_usage(live, request))
            if usage is None:  # behind it comes the end, which should not wait
                await flusher.rest()
    raise ProviderBroke(detail="the stream ended without saying so")


def clean(text: str) -> str:
    """Without what PostgreSQL or UTF-8 cannot hold: NUL and lone surrogates."""
    if text.isascii():
        return text.replace("\x00", "\ufffd")
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


def _explain(live: LiveReply, error: BaseException) -> Ending:
    """A stream is cut by its user, by its provider, by a lost lease, or by the worker going down."""
    if isinstance(error, ChatboxError):
        return build_failure(live, error)
    if live.is_unrenderable:
        return build_failure(live, ReplyBroke())
    return Ending(State.STOPPED) if live.is_stop_requested else leases.INTERRUPTED


def _estimate_usage(live: LiveReply, request: ChatRequest) -> Usage | None:
    """What was written was billed, though nobody counted it for us."""
    return chat.estimate_usage(request, characters=live.written_length) if live.written_length else None


def build_failure(live: LiveReply, error: ChatboxError) -> Ending:
    """After its first character a reply is interrupted and keeps its text; before, it has failed."""
    log.warning("reply %s: %s %s", live.id, error.code, error.detail)
    return Ending(
        State.INTERRUPTED if live.length else State.FAILED,
        error_code=error.code,
        error_message=error.message,
        is_error_retryable=error.retryable,
    )


def compose(job: Job, ending: Ending) -> bool:
    """The row first, then the news of it: who reloads on hearing the news must find it true. False: the lease was lost."""
    try:
        is_settled = not job.live.is_fenced and _settle_patiently(job.live, ending)
        runtime.run(_close(job.live, ending if is_settled else None))
    except Exception:
        runtime.run(_close(job.live, None))
        raise
    return is_settled


def _settle_patiently(live: LiveReply, ending: Ending) -> bool:
    """A database that is restarting gets a minute to return; the lease is renewed meanwhile by the checkpoints."""
    deadline = time.monotonic() + SETTLE_PATIENCE_S
    while True:
        try:
            return leases.settle(live, ending)
        except (OperationalError, PoolTimeout):
            if time.monotonic() > deadline:
                raise
            log.warning("reply %s cannot be settled yet", live.id, exc_info=True)
            connection.close()
            time.sleep(0.5)


async def _close(live: LiveReply, ending: Ending | None) -> None:
    """Announce the end and let go. An ending of None: the reply was taken from us, and whoever took it announces it."""
    try:
        if ending is not None:
            await get_flusher().publish_end(live, _build_end(live, ending))
    finally:
        get_flusher().close(live)


def _build_end(live: LiveReply, ending: Ending) -> frames.Doorbell:
    return frames.build_finished(
        reply_id=live.id,
        state=ending.state,
        length=live.length,
        usage=asdict(ending.usage) if ending.usage else None,
        error=ending.error,
        ops=live.finish(),
    )


def record(job: Job, ending: Ending) -> None:
    metrics.record_reply(job.reply, job.live, ending)


@cache
def get_flusher() -> Flusher:
    """This process's flusher. First called on the loop it then lives on."""
    return Flusher()


@cache
def get_keeper() -> Keeper:
    """This process's keeper, on the same loop."""
    return Keeper(get_flusher().replies, leases.checkpoint)


def interrupt_all() -> None:
    """End every reply of this process with the text it has; for a worker that has to go."""
    runtime.get_loop().call_soon_threadsafe(lambda: get_keeper().cancel_all())
