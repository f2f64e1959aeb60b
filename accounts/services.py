"""What may be done with accounts: the first administrator, roles, switching people off and on, passwords."""

import logging
import secrets
from datetime import timedelta
from functools import partial

from django.conf import settings
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from accounts import queries, sockets
from accounts.errors import EmailTaken, LastAdministrator, SetupLinkInvalid
from accounts.models import Role, SetupLink, User

log = logging.getLogger(__name__)

SETUP_LINK_AGE = timedelta(hours=24)
TOKEN_BYTES = 32
# Any constant: everything that decides by "is there an administrator?" waits for the others that do.
ADMIN_LOCK = 0x43484154


@transaction.atomic
def create_setup_link() -> str:
    """A new token for the first administrator's link. It is shown once; links not used so far stop working.

    Raises SetupLinkInvalid when an active administrator exists.
    """
    _lock_admins()
    if queries.has_active_admin():
        raise SetupLinkInvalid
    token = secrets.token_urlsafe(TOKEN_BYTES)
    SetupLink.objects.filter(used_at=None).delete()
    SetupLink.objects.create(token_hash=queries.hash_token(token), expires_at=timezone.now() + SETUP_LINK_AGE)
    return token


@transaction.atomic
def accept_setup_link(*, token: str, name: str, email: str, password: str) -> User:
    """Make the first administrator. Of any number of parallel calls exactly one succeeds.

    Raises SetupLinkInvalid if the link is used, expired or replaced, or an administrator exists; EmailTaken.
    """
    _lock_admins()
    if queries.has_active_admin() or not queries.list_open_links(token=token).update(used_at=timezone.now()):
        raise SetupLinkInvalid
    return create_user(email=email, password=password, name=name, role=Role.ADMIN)


def ensure_environment_admin() -> User | None:
    """Make the administrator that DJANGO_SUPERUSER_EMAIL and DJANGO_SUPERUSER_PASSWORD ask for.

    None when they ask for nobody, or the address has an account already: that one is left alone.
    """
    email, password = settings.FIRST_ADMIN_EMAIL, settings.FIRST_ADMIN_PASSWORD
    if not (email and password):
        return None
    try:
        user = create_user(email=email, password=password, role=Role.ADMIN)
    except EmailTaken:
        return None
    _warn_of_weak_password(user, password)
    return user


def create_user(*, email: str, password: str | None, name: str = "", role: str = Role.MEMBER) -> User:
    """Raises EmailTaken. The password's strength is the form's affair. None: nobody can sign in by password."""
    try:
        with transaction.atomic():
            return User.objects.create_user(email, password, name=name, role=role)
    except IntegrityError as error:
        raise EmailTaken from error


@transaction.atomic
def deactivate_user(*, user: User) -> None:
    """The account cannot sign in any more; its sessions and tokens stop working and its sockets close.

    Raises LastAdministrator. A second call changes nothing.
    """
    _lock_admins()
    _keep_one_admin(without=user)
    User.objects.filter(pk=user.pk).update(is_active=False)
    user.is_active = False
    end_sockets(user=user)


def activate_user(*, user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_active=True)
    user.is_active = True


@transaction.atomic
def change_role(*, user: User, role: str) -> None:
    """Give the person another role; their sockets reconnect with it. Raises LastAdministrator."""
    _lock_admins()
    if role != Role.ADMIN:
        _keep_one_admin(without=user)
    user.role, user.is_superuser = Role(role), role == Role.ADMIN
    user.save(update_fields=["role", "is_superuser"])
    end_sockets(user=user)


@transaction.atomic
def change_password(*, user: User, password: str) -> None:
    """Set a new password. Sessions and tokens made with the old one stop working and sockets close."""
    user.set_password(password)
    user.save(update_fields=["password"])
    end_sockets(user=user)


def end_sockets(*, user: User) -> None:
    """Close the person's sockets once the transaction that is the reason has committed."""
    transaction.on_commit(partial(sockets.close_for, user.pk))


def is_last_admin(*, user: User) -> bool:
    """Is this person the only active administrator? As stored, whatever the object in hand says."""
    return list(queries.list_active_admins().values_list("pk", flat=True)[:2]) == [user.pk]


def _keep_one_admin(*, without: User) -> None:
    if is_last_admin(user=without):
        raise LastAdministrator


def _lock_admins() -> None:
    """Until the end of the transaction, nobody else decides by the number of administrators."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [ADMIN_LOCK])


def _warn_of_weak_password(user: User, password: str) -> None:
    try:
        validate_password(password, user)
    except ValidationError as error:
        log.warning("the password of %s in DJANGO_SUPERUSER_PASSWORD is weak: %s", user.email, " ".join(error.messages))
