"""The one-time link of the first administrator."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.contrib.auth import SESSION_KEY
from django.db import connection
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from accounts import services
from accounts.errors import SetupLinkInvalid
from accounts.models import Role, SetupLink, User
from accounts.startup import prepare_first_admin
from ops.startup import StartupContext
from tests.people import PASSWORD, make_ada, make_user

pytestmark = pytest.mark.django_db

FORM = {"name": "Ada", "email": "Ada@Example.test", "password": PASSWORD}


def post(token: str, **fields: str) -> int:
    return Client().post(f"/accounts/setup/{token}/", {**FORM, **fields}).status_code


def test_the_link_makes_the_first_administrator_and_signs_in(client: Client) -> None:
    token = services.create_setup_link()

    assert client.get(f"/accounts/setup/{token}/").status_code == 200
    response = client.post(f"/accounts/setup/{token}/", FORM)

    ada = User.objects.get()
    assert (response.status_code, response["Location"]) == (302, "/chat/")
    assert (ada.email, ada.name, ada.role, ada.is_superuser) == ("ada@example.test", "Ada", Role.ADMIN, True)
    assert ada.check_password(PASSWORD)
    assert client.session[SESSION_KEY] == str(ada.pk)


def test_the_link_works_once() -> None:
    token = services.create_setup_link()

    assert post(token) == 302
    assert post(token, email="eve@example.test") == 410
    assert User.objects.count() == 1


def test_looking_at_the_page_does_not_use_the_link(client: Client) -> None:
    token = services.create_setup_link()

    client.get(f"/accounts/setup/{token}/")
    client.head(f"/accounts/setup/{token}/")

    assert post(token) == 302


def test_the_link_expires() -> None:
    token = services.create_setup_link()
    SetupLink.objects.update(expires_at=timezone.now() - timedelta(seconds=1))

    assert post(token) == 410
    assert not User.objects.exists()


def test_the_link_lives_for_a_day() -> None:
    services.create_setup_link()

    link = SetupLink.objects.get()
    assert timedelta(hours=23, minutes=59) < link.expires_at - timezone.now() <= timedelta(hours=24)


def test_a_new_link_replaces_the_old() -> None:
    old, new = services.create_setup_link(), services.create_setup_link()

    assert post(old) == 410
    assert post(new) == 302


@pytest.mark.parametrize("token", ["guess", "%00", "x" * 5000, "%ED%A0%80", "..%2f", "é"])
def test_a_guess_is_refused(token: str) -> None:
    services.create_setup_link()

    assert post(token) in {404, 410}
    assert not User.objects.exists()


def test_the_link_is_dead_once_an_administrator_exists() -> None:
    token = services.create_setup_link()
    make_ada()

    assert post(token, email="eve@example.test") == 410
    with pytest.raises(SetupLinkInvalid):
        services.create_setup_link()


def test_only_the_hash_of_the_token_is_kept() -> None:
    token = services.create_setup_link()

    assert len(token) >= 43  # 256 bits
    assert token not in SetupLink.objects.get().token_hash


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("password", "short"),
        ("password", "12345678"),
        ("password", "ada@example.test"),
        ("email", "nobody"),
        ("email", ""),
    ],
)
def test_bad_answers_are_shown_and_do_not_use_the_link(field: str, value: str) -> None:
    token = services.create_setup_link()

    assert post(token, **{field: value}) == 200
    assert not User.objects.exists()
    assert post(token) == 302


@pytest.mark.parametrize("email", ["alice@example.test", "ALICE@example.test"])
def test_an_address_that_has_an_account_is_refused(email: str) -> None:
    make_user()
    token = services.create_setup_link()

    assert post(token, email=email) == 200
    assert post(token) == 302


def test_roles_cannot_be_sent_along() -> None:
    token = services.create_setup_link()

    post(token, role="member", is_superuser="", id="999", is_active="")

    ada = User.objects.get()
    assert (ada.role, ada.is_active, ada.pk != 999) == (Role.ADMIN, True, True)


def test_the_page_needs_the_csrf_token() -> None:
    token = services.create_setup_link()

    response = Client(enforce_csrf_checks=True).post(f"/accounts/setup/{token}/", FORM)

    assert response.status_code == 403
    assert not User.objects.exists()


@pytest.mark.parametrize("method", ["put", "patch", "delete"])
def test_other_methods_are_refused(client: Client, method: str) -> None:
    token = services.create_setup_link()

    assert getattr(client, method)(f"/accounts/setup/{token}/").status_code == 405


@pytest.mark.django_db(transaction=True)
def test_twenty_parallel_posts_make_one_account() -> None:
    token = services.create_setup_link()

    def attempt(number: int) -> int:
        try:
            return post(token, email=f"person{number}@example.test")
        finally:
            connection.close()

    with ThreadPoolExecutor(20) as pool:
        statuses = sorted(pool.map(attempt, range(20)))

    assert statuses == [302] + [410] * 19
    assert User.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_parallel_starts_leave_one_open_link() -> None:
    def start(_: int) -> str:
        try:
            return services.create_setup_link()
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        tokens = list(pool.map(start, range(8)))

    assert sorted(post(token, email=f"p{n}@example.test") for n, token in enumerate(tokens)) == [302] + [410] * 7


def test_the_first_start_returns_the_full_address_of_the_link() -> None:
    line = prepare_first_admin(StartupContext(address="http://127.0.0.1:8000"))

    assert line is not None
    prefix, token = line[:-1].rsplit("/", 1)
    assert prefix == "Make the first account here, once: http://127.0.0.1:8000/accounts/setup"
    assert post(token) == 302
    assert prepare_first_admin(StartupContext(address="http://127.0.0.1:8000")) is None


def test_the_environment_makes_the_first_administrator(settings: Settings) -> None:
    settings.FIRST_ADMIN_EMAIL, settings.FIRST_ADMIN_PASSWORD = "Ada@example.test", PASSWORD

    assert prepare_first_admin(StartupContext(address="http://host")) is None

    ada = User.objects.get()
    assert (ada.email, ada.role, ada.check_password(PASSWORD)) == ("ada@example.test", Role.ADMIN, True)


def test_the_environment_leaves_an_existing_account_alone(settings: Settings) -> None:
    settings.FIRST_ADMIN_EMAIL, settings.FIRST_ADMIN_PASSWORD = "alice@example.test", "another long password"
    make_user()

    assert services.ensure_environment_admin() is None

    alice = User.objects.get()
    assert (alice.role, alice.check_password(PASSWORD)) == (Role.MEMBER, True)
