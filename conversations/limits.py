"""Limits of what a person may send, each with its reason."""

import time
from collections.abc import Sequence
from uuid import UUID

from django.conf import settings

from conversations.errors import TextInvalid, TooManyModels

TITLE_CHARACTERS = 80  # what a sidebar shows
MODELS_AT_ONCE = 4  # columns that can be read side by side
KEY_CHARACTERS = 255  # as the Idempotency-Key drafts have it


def check_text(text: str) -> str:
    """The text without surrounding white space. Raises TextInvalid: empty, over the limit, or not storable."""
    text = text.strip()
    if not text:
        raise TextInvalid
    if len(text) > settings.MESSAGE_MAX_CHARACTERS:
        raise TextInvalid(
            f"This message has {len(text):,} characters; at most {settings.MESSAGE_MAX_CHARACTERS:,} can be sent."
        )
    _check_storable(text)
    return text


def check_draft(text: str) -> str:
    """A draft may be empty and keeps its white space. Raises TextInvalid: over the limit, or not storable."""
    if len(text) > settings.MESSAGE_MAX_CHARACTERS:
        raise TextInvalid(f"A draft is kept up to {settings.MESSAGE_MAX_CHARACTERS:,} characters.")
    _check_storable(text)
    return text


def check_models(model_ids: Sequence[UUID]) -> list[UUID]:
    """Each once, in the order they were chosen. Raises TooManyModels."""
    chosen = list(dict.fromkeys(model_ids))
    if len(chosen) > MODELS_AT_ONCE:
        raise TooManyModels(f"At most {MODELS_AT_ONCE} models can be asked at once.")
    return chosen


def _check_storable(text: str) -> None:
    if "\x00" in text or not _is_utf8(text):
        raise TextInvalid("This message holds characters that cannot be stored.")


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def build_title(text: str) -> str:
    """A conversation's first words, cut at a word."""
    line = " ".join(text.split())
    if len(line) <= TITLE_CHARACTERS:
        return line
    return line[:TITLE_CHARACTERS].rsplit(" ", 1)[0] + "…"


class TokenBucket:
    """At most `burst` at once and `rate` a second over time, for one socket."""

    def __init__(self, *, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = float(burst)
        self._filled_at = time.monotonic()

    def take(self) -> bool:
        """Take one; False: there is none."""
        now = time.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
