"""What replies tell Prometheus and the log."""

import logging

from prometheus_client import Counter, Histogram

from conversations.leases import Ending
from conversations.models import Message
from conversations.stream.live import LiveReply

log = logging.getLogger(__name__)

REPLIES = Counter("chatbox_conversations_replies_total", "Replies that ended, by state.", ["state"])
FIRST_TOKEN = Histogram(
    "chatbox_conversations_first_token_seconds",
    "From sending a message to the first text of its reply.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120),
)
TOKENS = Counter("chatbox_conversations_tokens_total", "Tokens of replies, by kind.", ["kind"])


def record_reply(reply: Message, live: LiveReply, ending: Ending) -> None:
    """Count one ended reply; ids and numbers only, never text."""
    wait_s = (live.first_token_at - reply.created_at).total_seconds() if live.first_token_at else None
    REPLIES.labels(ending.state).inc()
    if wait_s is not None:
        FIRST_TOKEN.observe(wait_s)
    if ending.usage:
        TOKENS.labels("prompt").inc(ending.usage.prompt_tokens)
        TOKENS.labels("completion").inc(ending.usage.completion_tokens)
    log.info("reply %s %s, %d characters, first after %s s", reply.id, ending.state, live.length, wait_s)
