"""Rules about people that hold however they are asked for."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.hashers import Argon2PasswordHasher
from django.db import IntegrityError, connection

from accounts import queries, services
from accounts.errors import EmailTaken, LastAdministrator
from accounts.models import Role, User
from tests.people import PASSWORD, make_ada, make_bob, make_user

pytestmark = pytest.mark.django_db


def test_the_last_administrator_cannot_be_deactivated() -> None:
    ada = make_ada()

    with pytest.raises(LastAdministrator):
        services.deactivate_user(user=ada)
    with pytest.raises(LastAdministrator):
        services.change_role(user=ada, role=Role.MEMBER)

    assert list(queries.list_active_admins()) == [ada]


def test_an_inactive_administrator_does_not_count() -> None:
    ada = make_ada()
    make_bob(role=Role.ADMIN, is_active=False)

    with pytest.raises(LastAdministrator):
        services.deactivate_user(user=ada)


def test_one_of_two_administrators_may_go() -> None:
    ada, bob = make_ada(), make_bob(role=Role.ADMIN)

    services.change_role(user=ada, role=Role.OPERATOR)
    services.activate_user(user=ada)

    ada.refresh_from_db()
    assert (ada.role, ada.is_superuser, ada.is_staff) == (Role.OPERATOR, False, True)
    assert list(queries.list_active_admins()) == [bob]


@pytest.mark.django_db(transaction=True)
def test_two_administrators_cannot_deactivate_each_other_at_once() -> None:
    people = [make_ada(), make_bob(role=Role.ADMIN)]

    def leave(user: User) -> bool:
        try:
            services.deactivate_user(user=user)
        except LastAdministrator:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(leave, people)) == [False, True]
    assert queries.list_active_admins().count() == 1


def test_deactivating_twice_changes_nothing() -> None:
    alice = make_user()

    services.deactivate_user(user=alice)
    services.deactivate_user(user=alice)

    assert not User.objects.get().is_active


@pytest.mark.parametrize("email", ["alice@example.test", "ALICE@EXAMPLE.TEST"])
def test_an_address_has_one_account(email: str) -> None:
    make_user()

    with pytest.raises(EmailTaken):
        services.create_user(email=email, password=None)


def test_the_database_ties_the_role_to_django_s_superuser() -> None:
    alice = make_user()

    with pytest.raises(IntegrityError):
        User.objects.filter(pk=alice.pk).update(is_superuser=True)


def test_passwords_are_kept_as_argon2() -> None:
    assert make_user().password.startswith("argon2$argon2id$v=19$m=19456,t=2,p=1$")


def test_a_hash_of_other_figures_is_replaced_at_sign_in() -> None:
    alice = make_user()
    User.objects.filter(pk=alice.pk).update(password=Argon2PasswordHasher().encode(PASSWORD, "0123456789abcdef"))

    assert authenticate(username=alice.email, password="wrong") is None
    assert "m=102400" in User.objects.get().password
    assert authenticate(username=alice.email, password=PASSWORD) == alice

    assert "m=19456" in User.objects.get().password
    assert User.objects.get().check_password(PASSWORD)
