"""Reads of people and set-up links."""

import hashlib

from django.db.models import QuerySet
from django.utils import timezone

from accounts.models import Role, SetupLink, User


def has_active_admin() -> bool:
    return list_active_admins().exists()


def list_active_admins() -> QuerySet[User]:
    return User.objects.filter(role=Role.ADMIN, is_active=True)


def list_open_links(*, token: str) -> QuerySet[SetupLink]:
    """The unused, unexpired link of this token, as a query of at most one row."""
    return SetupLink.objects.filter(token_hash=hash_token(token), used_at=None, expires_at__gt=timezone.now())


def is_setup_link_open(*, token: str) -> bool:
    """May this token still make the first administrator?"""
    return not has_active_admin() and list_open_links(token=token).exists()


def hash_token(token: str) -> str:
    """SHA-256 is enough: the token has 256 random bits, so there is nothing to guess slowly."""
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()
