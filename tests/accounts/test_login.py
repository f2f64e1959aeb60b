"""Signing in and out by the page."""

from urllib.parse import urljoin, urlsplit

import pytest
from django.contrib.auth import SESSION_KEY
from django.test import Client

from tests.people import PASSWORD, make_charlie, make_user

pytestmark = pytest.mark.django_db

LOGIN = "/accounts/login/"
LOGOUT = "/accounts/logout/"
FOREIGN = [
    "//evil.test",
    "/\\evil.test",
    "https:evil.test",
    "https://evil.test/",
    "/%09/evil.test",
    "javascript:alert(1)",
    "\x00//evil",
    "https://testserver@evil.test",
    "\t//evil.test",
    "/\r\nLocation: https://evil.test",
    "///evil.test",
]


def sign_in(client: Client, *, email: str = "alice@example.test", password: str = PASSWORD, **more: str) -> object:
    return client.post(LOGIN, {"username": email, "password": password, **more})


def test_owner_signs_in_and_lands_on_the_chat(client: Client) -> None:
    alice = make_user()

    response = client.post(LOGIN, {"username": "Alice@Example.test", "password": PASSWORD})

    assert (response.status_code, response["Location"]) == (302, "/chat/")
    assert client.session[SESSION_KEY] == str(alice.pk)


@pytest.mark.parametrize(
    ("email", "password"),
    [("alice@example.test", "wrong"), ("nobody@example.test", PASSWORD), ("charlie@example.test", PASSWORD)],
)
def test_every_refusal_reads_the_same(client: Client, email: str, password: str) -> None:
    make_user()
    make_charlie()

    response = client.post(LOGIN, {"username": email, "password": password})

    assert response.status_code == 200
    assert response.context["form"].non_field_errors() == ["E-mail or password is wrong."]
    assert SESSION_KEY not in client.session


@pytest.mark.parametrize("email", ["\x00", "a\x00@example.test", "'; DROP TABLE", "x" * 5000, "é@é"])
def test_odd_addresses_are_refused_without_an_error(client: Client, email: str) -> None:
    response = client.post(LOGIN, {"username": email, "password": PASSWORD})

    assert response.status_code == 200


@pytest.mark.parametrize("target", FOREIGN)
def test_next_never_leaves_our_origin(client: Client, target: str) -> None:
    make_user()

    response = client.post(LOGIN, {"username": "alice@example.test", "password": PASSWORD, "next": target})

    assert response.status_code == 302
    landed = urlsplit(urljoin("http://testserver/accounts/login/", response["Location"]))
    assert (landed.scheme, landed.netloc) == ("http", "testserver")
    assert "\\" not in response["Location"]


def test_next_is_followed_when_it_is_a_path_of_ours(client: Client) -> None:
    make_user()

    response = client.post(LOGIN, {"username": "alice@example.test", "password": PASSWORD, "next": "/admin/?a=b"})

    assert response["Location"] == "/admin/?a=b"


@pytest.mark.parametrize("target", [LOGIN, LOGIN + "?next=" + LOGIN])
def test_next_to_the_login_page_does_not_loop(client: Client, target: str) -> None:
    client.force_login(make_user())

    response = client.get(LOGIN, {"next": target})

    assert (response.status_code, response["Location"]) == (302, "/chat/")


def test_a_session_fixed_before_login_is_not_accepted_after(client: Client) -> None:
    make_user()
    session = client.session
    session["planted"] = True
    session.save()
    fixed = session.session_key or ""

    sign_in(client)

    assert client.session.session_key != fixed
    thief = Client()
    thief.cookies["sessionid"] = fixed
    assert SESSION_KEY not in thief.session


def test_login_needs_the_csrf_token() -> None:
    make_user()
    client = Client(enforce_csrf_checks=True)

    response = client.post(LOGIN, {"username": "alice@example.test", "password": PASSWORD})

    assert response.status_code == 403


def test_a_deactivated_person_is_out_at_once(client: Client) -> None:
    alice = make_user()
    client.force_login(alice)
    alice.is_active = False
    alice.save(update_fields=["is_active"])

    response = client.get(LOGIN)

    assert response.status_code == 200  # a signed-in person would be sent on


def test_logging_out_ends_the_session(client: Client) -> None:
    client.force_login(make_user())
    old = client.session.session_key

    response = client.post(LOGOUT)

    assert (response.status_code, response["Location"]) == (302, LOGIN)
    assert SESSION_KEY not in client.session
    assert client.session.session_key != old


def test_a_stranger_may_call_logout(client: Client) -> None:
    assert client.post(LOGOUT).status_code == 302


@pytest.mark.parametrize("method", ["get", "put", "delete"])
def test_logging_out_takes_post_only(client: Client, method: str) -> None:
    client.force_login(make_user())

    assert getattr(client, method)(LOGOUT).status_code == 405
    assert SESSION_KEY in client.session


def test_a_session_cookie_of_garbage_is_nobody(client: Client) -> None:
    client.cookies["sessionid"] = "a" * 9 + "\x00"

    assert client.get(LOGIN).status_code == 200
