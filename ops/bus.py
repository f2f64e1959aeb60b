"""The one door to the bus (Redis or Valkey): live text, cancels, counters. Never the cache, which may evict."""

from functools import cache
from typing import Any

import redis
import redis.asyncio
from django.conf import settings

CONNECT_TIMEOUT_S = 2
ANSWER_TIMEOUT_S = 2


@cache
def get_client() -> redis.Redis:
    """This process's blocking client. Threads share it; it waits for a free connection instead of raising."""
    pool = redis.BlockingConnectionPool.from_url(
        settings.REDIS_URL,
        max_connections=20,
        timeout=ANSWER_TIMEOUT_S,
        socket_timeout=ANSWER_TIMEOUT_S,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        decode_responses=True,
    )
    return redis.Redis(connection_pool=pool)


def open_async_client(**options: Any) -> redis.asyncio.Redis:
    """A client of its own for the running event loop; the caller closes it."""
    return redis.asyncio.Redis.from_url(
        settings.REDIS_URL, decode_responses=True, socket_connect_timeout=CONNECT_TIMEOUT_S, **options
    )
