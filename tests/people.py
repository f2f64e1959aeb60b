"""The cast of the tests: alice owns, bob is a stranger, charlie is switched off, ada administers."""

from functools import cache
from typing import Any

from django.contrib.auth.hashers import make_password

from accounts.models import Role, User

PASSWORD = "correct horse battery staple"


def make_user(email: str = "alice@example.test", **fields: Any) -> User:
    user = User.objects.create_user(email, **fields)
    user.password = hash_password()
    user.save(update_fields=["password"])
    return user


def make_bob(**fields: Any) -> User:
    return make_user("bob@example.test", **fields)


def make_charlie(**fields: Any) -> User:
    return make_user("charlie@example.test", **{"is_active": False, **fields})


def make_ada(**fields: Any) -> User:
    return make_user("ada@example.test", **{"role": Role.ADMIN, "name": "Ada Lovelace", **fields})


@cache
def hash_password() -> str:
    """Hashing is slow by intent; once for all people of a run is enough."""
    return make_password(PASSWORD)
