"""Limits of what a person may send, each with its reason."""

from django.conf import settings

from conversations.errors import TextInvalid

TITLE_CHARACTERS = 80  # what a sidebar shows
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
    if "\x00" in text or not _is_utf8(text):
        raise TextInvalid("This message holds characters that cannot be stored.")
    return text


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
