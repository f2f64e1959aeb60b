"""One request, one effect: a client may send the same `Idempotency-Key` as often as it likes.

As Stripe has it: the same key is answered with the stored result, the same key with another request is refused.
"""

import hashlib
from dataclasses import dataclass
from uuid import UUID

from django.db import connection

from accounts.models import User
from conversations.errors import KeyReused, TextInvalid
from conversations.limits import KEY_CHARACTERS
from conversations.models import IdempotencyKey, Message


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to do a request. `stored`: it has been done, and this is what came of it."""

    user: User
    key: str
    fingerprint: str
    stored: tuple[Message, Message] | None = None

    def store(self, *, message_id: UUID, reply_id: UUID) -> None:
        """`message_id`: what the reply answers."""
        if self.key:
            IdempotencyKey.objects.create(
                user=self.user, key=self.key, fingerprint=self.fingerprint, message_id=message_id, reply_id=reply_id
            )


def claim(*, user: User, key: str, request: tuple[object, ...]) -> Claim:
    """Waits for a request with the same key that is under way. To be called in the transaction that stores its result.

    Raises KeyReused.
    """
    fingerprint = hashlib.sha256(repr(request).encode("utf-8", "replace")).hexdigest()
    if not key:
        return Claim(user, "", fingerprint)
    if len(key) > KEY_CHARACTERS or not key.isprintable():
        raise TextInvalid(f"An Idempotency-Key has at most {KEY_CHARACTERS} printable characters.")
    _lock(f"{user.pk}:{key}")
    stored = IdempotencyKey.objects.filter(user=user, key=key).select_related("message", "reply").first()
    if stored is None:
        return Claim(user, key, fingerprint)
    if stored.fingerprint != fingerprint:
        raise KeyReused
    return Claim(user, key, fingerprint, (stored.message, stored.reply))


def _lock(name: str) -> None:
    """Held until the transaction ends; two names that share a hash only wait for each other."""
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [number])
