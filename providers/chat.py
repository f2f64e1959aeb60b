"""The door: `stream(request)` calls a model and gives its events. Who calls knows no provider, key or protocol.

Before the first event it tries up to three times; after it never, because the text would be billed and said twice.
"""

import asyncio
import logging
import random
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connection

from providers import catalog, metrics
from providers.adapters import get_protocol
from providers.adapters.base import Call, WireProtocol
from providers.endpoints import build_endpoint
from providers.errors import ProviderBusy, ProviderError, ProviderFailed, ProviderUnreachable
from providers.models import ChatModel
from providers.types import ChatRequest, Done, Event, ReasoningDelta, TextDelta, Usage

log = logging.getLogger(__name__)

# Threads of its own: the loop's default pool also resolves names, and a slow one would hold up the replies of all providers.
LOADERS = ThreadPoolExecutor(4, thread_name_prefix="loader")

MAX_ATTEMPTS = 3
BACKOFF_BASE_S = 0.25
RETRY_AFTER_CAP_S = 60.0
RETRIED = (ProviderUnreachable, ProviderBusy, ProviderFailed)
# An estimate for providers that do not count: English text has about four characters a token.
CHARACTERS_PER_TOKEN = 4


async def stream(request: ChatRequest) -> AsyncGenerator[Event, None]:
    """Call the model and yield what it says: deltas, then one Usage, then Done.

    Runs on the loop of `providers.runtime`. Closing it (`contextlib.aclosing`) or cancelling it closes the provider's
    connection at once. Holds no database connection. Raises ProviderError; the text until then stays valid.
    """
    deadline_at = asyncio.get_running_loop().time() + settings.REPLY_TIMEOUT_S
    protocol, call = await sync_to_async(_load, thread_sensitive=False, executor=LOADERS)(request)
    with metrics.measure_call() as measure:
        async with aclosing(_stream_with_retries(protocol, call, deadline_at)) as events:
            characters, is_counted = 0, False
            async for event in events:
                kind = type(event)
                if kind is TextDelta or kind is ReasoningDelta:
                    if not characters:
                        measure.mark_first_token()
                    characters += len(event.text)  # type: ignore[union-attr]
                elif kind is Usage:
                    is_counted = True
                elif kind is Done:
                    measure.mark_done()
                    if not is_counted:
                        yield estimate_usage(request, characters=characters)
                yield event


def estimate_usage(request: ChatRequest, *, characters: int) -> Usage:
    """What an answer of so many characters may have cost, rounded up, for calls whose provider did not say."""
    prompt = sum(len(turn.text) for turn in request.turns)
    return Usage(-(-prompt // CHARACTERS_PER_TOKEN), -(-characters // CHARACTERS_PER_TOKEN), is_estimated=True)


async def _stream_with_retries(protocol: WireProtocol, call: Call, deadline_at: float) -> AsyncGenerator[Event, None]:
    for attempt in range(1, MAX_ATTEMPTS + 1):
        has_begun = False
        try:
            async with aclosing(protocol.stream(call, deadline_at=deadline_at)) as events:
                async for event in events:
                    has_begun = True
                    yield event
            return
        except ProviderError as error:
            delay_s = choose_delay(error, attempt=attempt)
            left_s = deadline_at - asyncio.get_running_loop().time()
            log.warning("call of %s failed (attempt %d): %s: %s", call.model, attempt, error.code, error.detail)
            if has_begun or delay_s is None or delay_s >= left_s:
                raise
        await asyncio.sleep(delay_s)


def choose_delay(error: ProviderError, *, attempt: int) -> float | None:
    """Seconds until the next attempt, with jitter so that callers do not come back together; None: no more."""
    if attempt >= MAX_ATTEMPTS or not error.retryable or not isinstance(error, RETRIED):
        return None
    backoff_s: float = BACKOFF_BASE_S * 2 ** (attempt - 1) * random.uniform(0.5, 1.5)  # noqa: S311
    return min(RETRY_AFTER_CAP_S, max(backoff_s, (error.retry_after_s or 0.0) * random.uniform(1.0, 1.1)))  # noqa: S311


def _load(request: ChatRequest) -> tuple[WireProtocol, Call]:
    """In a thread, since it may ask the database; its connection is given back before the stream begins."""
    try:
        model = catalog.get_model(request.model_id)
        return get_protocol(model.provider.adapter), build_call(model, request)
    finally:
        connection.close()


def build_call(model: ChatModel, request: ChatRequest) -> Call:
    """The row's parameters and the request's turns. Raises what `build_endpoint` raises."""
    sampling: dict[str, Any] = {"temperature": model.temperature, "top_p": model.top_p}
    return Call(
        endpoint=build_endpoint(model.provider),
        model=model.name,
        turns=request.turns,
        max_output_tokens=min(request.max_output_tokens, model.max_output_tokens),
        parameters=sampling | dict(model.extra_parameters),
    )
