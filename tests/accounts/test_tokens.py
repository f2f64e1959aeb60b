"""The API's tokens: who gets one, and everything that is not one."""

import base64
import json
import time
from typing import Any

import jwt
import pytest
from django.conf import settings
from django.test import Client

from accounts import services, tokens
from accounts.models import User
from tests.people import PASSWORD, make_bob, make_charlie, make_user

pytestmark = pytest.mark.django_db

TOKEN = "/api/v1/auth/token"
REFRESH = "/api/v1/auth/token/refresh"
ME = "/api/v1/me"


def post(client: Client, url: str, **body: Any) -> Any:
    return client.post(url, body, content_type="application/json")


def get_me(client: Client, token: str) -> Any:
    return client.get(ME, headers={"Authorization": f"Bearer {token}"})


def assert_refused(response: Any) -> None:
    assert response.status_code == 401
    assert set(json.loads(response.content)["error"]) == {"code", "message", "retryable", "request_id"}
    assert response["WWW-Authenticate"].startswith("Bearer")


def sign(user: User, key: str = "", headers: dict[str, Any] | None = None, **claims: Any) -> str:
    """An access token of this user with some claims replaced; None leaves a claim out."""
    real = jwt.decode(tokens.create_pair(user=user).access, options={"verify_signature": False})
    payload = {name: value for name, value in {**real, **claims}.items() if value is not None}
    return jwt.encode(payload, key or str(settings.JWT_SECRET), algorithm="HS256", headers=headers)


def sign_as(user: User, algorithm: str) -> str:
    """A token that names another algorithm and has no signature."""
    _, payload, _ = sign(user).split(".")
    head = base64.urlsafe_b64encode(json.dumps({"alg": algorithm, "typ": "JWT"}).encode()).rstrip(b"=").decode()
    return f"{head}.{payload}."


def test_owner_gets_tokens_and_is_known_by_them(client: Client) -> None:
    alice = make_user(name="Alice")

    response = post(client, TOKEN, email="Alice@Example.test", password=PASSWORD)

    assert response.status_code == 200
    assert set(response.json()) == {"access", "refresh"}
    me = get_me(client, response.json()["access"])
    assert me.json() == {"id": alice.pk, "email": "alice@example.test", "name": "Alice", "role": "member"}


def test_the_access_token_says_who_and_what(client: Client) -> None:
    alice = make_user()

    claims = jwt.decode(tokens.create_pair(user=alice).access, options={"verify_signature": False})

    assert (claims["user_id"], claims["email"], claims["role"]) == (str(alice.pk), alice.email, "member")
    assert claims["exp"] - claims["iat"] == 3600
    assert alice.password not in str(claims)


@pytest.mark.parametrize(
    ("email", "password"),
    [("alice@example.test", "wrong"), ("nobody@example.test", PASSWORD), ("charlie@example.test", PASSWORD)],
)
def test_every_refusal_reads_the_same(client: Client, email: str, password: str) -> None:
    make_user()
    make_charlie()

    response = post(client, TOKEN, email=email, password=password)

    assert_refused(response)
    assert response.json()["error"]["code"] == "not_authenticated"


@pytest.mark.parametrize("value", [{"$ne": ""}, ["a"], 7, True, None, 1e308, "\ud800", "a\x00b", "", "x" * 5000])
@pytest.mark.parametrize(("url", "field"), [(TOKEN, "email"), (TOKEN, "password"), (REFRESH, "refresh")])
def test_values_that_are_no_text_are_refused(client: Client, url: str, field: str, value: Any) -> None:
    make_user()
    body = {"email": "alice@example.test", "password": PASSWORD} | {field: value}

    response = client.post(url, json.dumps(body), content_type="application/json")

    assert response.status_code == (401 if (field, value) == ("refresh", "x" * 5000) else 400)
    assert response.json()["error"]["message"]


@pytest.mark.parametrize("body", [b"", b"[", b"[]", b"null", b'"text"', b"\xff", b"[" * 50_000, b'{"email": NaN}'])
@pytest.mark.parametrize("url", [TOKEN, REFRESH])
def test_bodies_that_are_no_object_are_refused(client: Client, url: str, body: bytes) -> None:
    assert client.post(url, body, content_type="application/json").status_code == 400


@pytest.mark.parametrize("url", [TOKEN, REFRESH])
@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_only_json_is_read(client: Client, url: str, content_type: str) -> None:
    assert client.post(url, "{}", content_type=content_type).status_code == 415


@pytest.mark.parametrize("url", [TOKEN, REFRESH])
@pytest.mark.parametrize("method", ["get", "put", "patch", "delete"])
def test_other_methods_are_refused(client: Client, url: str, method: str) -> None:
    assert getattr(client, method)(url).status_code == 405


def test_an_anonymous_caller_of_me_is_refused(client: Client) -> None:
    assert_refused(client.get(ME))


def test_a_session_cookie_counts_for_nothing(client: Client) -> None:
    client.force_login(make_user())

    assert_refused(client.get(ME))


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_me_cannot_be_written(client: Client, method: str) -> None:
    alice = make_user()
    token = tokens.create_pair(user=alice).access

    body = {"is_staff": True, "is_superuser": True, "role": "admin", "id": 1}
    response = getattr(client, method)(ME, body, content_type="application/json", headers={"Authorization": f"Bearer {token}"})

    assert response.status_code == 405
    alice.refresh_from_db()
    assert (alice.role, alice.is_superuser) == ("member", False)


def test_me_is_never_somebody_else(client: Client) -> None:
    make_user()
    bob = make_bob()

    assert get_me(client, tokens.create_pair(user=bob).access).json()["email"] == "bob@example.test"


BAD_TOKENS: dict[str, Any] = {
    "alg none": lambda user: sign_as(user, "none"),
    "alg None": lambda user: sign_as(user, "None"),
    "alg nOnE": lambda user: sign_as(user, "nOnE"),
    "alg HS512": lambda user: sign_as(user, "HS512"),
    "alg RS256": lambda user: sign_as(user, "RS256"),
    "a number as alg": lambda user: sign_as(user, 7),  # type: ignore[arg-type]
    "another deployment's key": lambda user: sign(user, key="k" * 64),
    "Django's key": lambda user: sign(user, key=str(settings.SECRET_KEY)),
    "kid as a path, key of zeros": lambda user: sign(user, key="\0" * 64, headers={"kid": "../../dev/null"}),
    "kid as SQL": lambda user: sign(user, key="k" * 64, headers={"kid": "' UNION SELECT 'k"}),
    "jku": lambda user: sign(user, key="k" * 64, headers={"jku": "https://evil.test/keys"}),
    "jwk": lambda user: sign(user, key="k" * 64, headers={"jwk": {"kty": "oct", "k": "a2tr"}}),
    "expired by a second": lambda user: sign(user, exp=int(time.time()) - 1),
    "no expiry": lambda user: sign(user, exp=None),
    "an absurd expiry": lambda user: sign(user, exp=10**30),
    "from the future": lambda user: sign(user, nbf=int(time.time()) + 3600),
    "refresh as access": lambda user: tokens.create_pair(user=user).refresh,
    "a token of no type": lambda user: sign(user, token_type=None),
    "a token that waits for a second factor": lambda user: sign(user, token_type="mfa"),
    "no id": lambda user: sign(user, jti=None),
    "no user": lambda user: sign(user, user_id=None),
    "a deleted user": lambda user: sign(user, user_id=str(user.pk + 1000)),
    "text as user": lambda user: sign(user, user_id="' OR 1=1 --"),
    "a list as user": lambda user: sign(user, user_id=[user.pk]),
    "a huge user": lambda user: sign(user, user_id="9" * 40),
    "a million digits": lambda user: sign(user, user_id="9" * 5000),
    "another password": lambda user: sign(user, hash_password="0" * 32),
    "a missing password proof": lambda user: sign(user, hash_password=None),
    "8 kB": lambda user: sign(user, filler="x" * 8192),
    "nested JSON": lambda _: base64.urlsafe_b64encode(b"[" * 2900).decode() + ".e30.e30",
    "not a token": lambda _: "token",
    "dots": lambda _: "..",
    "a NUL": lambda user: sign(user) + "\0",
    "not ASCII": lambda _: "é.é.é",
    "two": lambda user: f"{sign(user)} {sign(user)}",
}


@pytest.mark.parametrize("name", BAD_TOKENS)
def test_what_is_no_token_of_ours_is_refused(client: Client, name: str) -> None:
    alice = make_user()

    assert_refused(get_me(client, BAD_TOKENS[name](alice)))


def test_the_list_of_bad_tokens_starts_from_a_good_one(client: Client) -> None:
    assert get_me(client, sign(make_user())).status_code == 200


def test_access_does_not_refresh(client: Client) -> None:
    assert_refused(post(client, REFRESH, refresh=tokens.create_pair(user=make_user()).access))


def test_refreshing_gives_new_tokens(client: Client) -> None:
    pair = tokens.create_pair(user=make_user())

    response = post(client, REFRESH, refresh=pair.refresh)

    assert response.status_code == 200
    assert set(response.json()) == {"access", "refresh"}
    assert response.json()["refresh"] != pair.refresh
    assert get_me(client, response.json()["access"]).status_code == 200


def test_a_deactivated_person_has_no_tokens_any_more(client: Client) -> None:
    alice = make_user()
    pair = tokens.create_pair(user=alice)

    services.deactivate_user(user=alice)

    assert_refused(get_me(client, pair.access))
    assert_refused(post(client, REFRESH, refresh=pair.refresh))


def test_a_new_password_ends_the_old_tokens(client: Client) -> None:
    alice = make_user()
    pair = tokens.create_pair(user=alice)

    services.change_password(user=alice, password="another long password")

    assert_refused(get_me(client, pair.access))
    assert_refused(post(client, REFRESH, refresh=pair.refresh))


@pytest.mark.parametrize("url", ["/api/v1/register", "/api/v1/auth/register", "/api/v1/users", "/accounts/signup/"])
def test_nobody_can_register(client: Client, url: str) -> None:
    assert post(client, url, email="eve@example.test", password=PASSWORD).status_code in {404, 405}
    assert not User.objects.exists()
