"""Encryption at rest with the key ring of `ENCRYPTION_KEYS`: the first key encrypts, every key decrypts."""

from functools import cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured


class UndecipherableError(Exception):
    """No key of the ring opens this value: a key was removed too early, or belongs to another installation."""


@cache
def _get_ring(keys: tuple[str, ...]) -> MultiFernet:
    if not keys:
        raise ImproperlyConfigured("ENCRYPTION_KEYS is empty. Give at least one Fernet key, newest first.")
    try:
        return MultiFernet([Fernet(key) for key in keys])
    except ValueError as error:
        raise ImproperlyConfigured(
            "ENCRYPTION_KEYS holds something that is not a Fernet key (32 bytes, URL-safe base64)."
        ) from error


def encrypt(text: str) -> str:
    return _get_ring(tuple(settings.ENCRYPTION_KEYS)).encrypt(text.encode()).decode()


def decrypt(token: str) -> str:
    """Raises UndecipherableError; there is no plaintext fallback."""
    try:
        return _get_ring(tuple(settings.ENCRYPTION_KEYS)).decrypt(token.encode()).decode()
    except InvalidToken as error:
        raise UndecipherableError("A stored secret cannot be decrypted with ENCRYPTION_KEYS.") from error


def reencrypt(token: str) -> str:
    """The same secret under the newest key. Raises UndecipherableError."""
    return encrypt(decrypt(token))
