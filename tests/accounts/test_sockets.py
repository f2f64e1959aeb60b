"""Who may open a socket, from where, and how it is told to close."""

import asyncio
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from channels.layers import get_channel_layer
from django.contrib.auth.models import AnonymousUser
from django.test import Client

from accounts import services, sockets, tokens
from accounts.models import User
from accounts.sockets import AuthMiddleware, OriginGuard, build_session_digest, close_for
from tests.people import PASSWORD, make_ada, make_bob, make_user

pytestmark = pytest.mark.django_db(transaction=True)

ORIGIN = "https://chat.example.test"
Headers = list[tuple[bytes, bytes]]


async def accept(scope: dict[str, Any], _receive: Any, send: Any) -> None:
    """The application behind the guards: it accepts and tells whom it sees."""
    user = scope["user"]
    name = "nobody" if isinstance(user, AnonymousUser) else user.email
    await send({"type": "websocket.accept", "user": name, "session": scope["session_digest"]})


@async_to_sync
async def open_socket(headers: Headers) -> dict[str, Any]:
    scope = {"type": "websocket", "path": "/ws/", "headers": headers}
    answers: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, Any]) -> None:
        answers.append(message)

    await OriginGuard(AuthMiddleware(accept), [ORIGIN])(scope, receive, send)
    (answer,) = answers
    return answer


def build_headers(*, origin: str | None = ORIGIN, client: Client | None = None, token: str | None = None) -> Headers:
    headers: Headers = []
    if origin is not None:
        headers.append((b"origin", origin.encode()))
    if client is not None:
        cookie = "; ".join(f"{name}={morsel.value}" for name, morsel in client.cookies.items())
        headers.append((b"cookie", cookie.encode("latin1")))
    if token is not None:
        headers.append((b"authorization", f"Bearer {token}".encode()))
    return headers


def sign_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def test_owner_is_known_by_the_session_cookie() -> None:
    client = sign_in(make_user())

    answer = open_socket(build_headers(client=client))

    assert answer["user"] == "alice@example.test"
    assert answer["session"] == build_session_digest(client.session.session_key or "")


def test_owner_is_known_by_a_token_without_an_origin() -> None:
    token = tokens.create_pair(user=make_user()).access

    answer = open_socket(build_headers(origin=None, token=token))

    assert (answer["user"], answer["session"]) == ("alice@example.test", "")


def test_a_token_counts_and_the_cookie_beside_it_does_not() -> None:
    client, token = sign_in(make_user()), tokens.create_pair(user=make_bob()).access

    assert open_socket(build_headers(client=client, token=token))["user"] == "bob@example.test"
    assert open_socket(build_headers(client=client, token="garbage"))["user"] == "nobody"


def test_nobody_is_nobody() -> None:
    assert open_socket(build_headers())["user"] == "nobody"


@pytest.mark.parametrize(
    "origin",
    [
        None,
        "",
        "null",
        "https://evil.test",
        "https://chat.example.test.evil.test",
        "https://evilchat.example.test",
        "http://chat.example.test",
        "https://chat.example.test:444",
        "https://chat.example.test/",
        "https://user@chat.example.test",
        "https://sub.chat.example.test",
        "*",
    ],
)
def test_a_cookie_from_another_origin_is_refused_before_accept(origin: str | None) -> None:
    client = sign_in(make_user())

    assert open_socket(build_headers(origin=origin, client=client))["type"] == "websocket.close"


def test_a_token_does_not_excuse_a_wrong_origin() -> None:
    token = tokens.create_pair(user=make_user()).access

    assert open_socket(build_headers(origin="https://evil.test", token=token))["type"] == "websocket.close"


def test_a_cookie_with_an_authorization_of_another_kind_is_refused() -> None:
    headers = [*build_headers(origin=None, client=sign_in(make_user())), (b"authorization", b"Basic YTpi")]

    assert open_socket(headers)["type"] == "websocket.close"


def test_two_origins_are_refused() -> None:
    headers = [*build_headers(client=sign_in(make_user())), (b"origin", ORIGIN.encode())]

    assert open_socket(headers)["type"] == "websocket.close"


@pytest.mark.parametrize("key", ["x", "a" * 32, '"aaaaaaaaa\\000"', "é" * 9, "a" * 5000, "' OR 1=1 --", "="])
def test_a_garbage_cookie_is_nobody(key: str) -> None:
    headers = [*build_headers(), (b"cookie", f"sessionid={key}".encode())]

    assert open_socket(headers)["user"] == "nobody"


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "\0", "x" * 9000])
def test_a_garbage_token_is_nobody(token: str) -> None:
    assert open_socket(build_headers(origin=None, token=token))["user"] == "nobody"


def test_a_refresh_token_opens_no_socket() -> None:
    token = tokens.create_pair(user=make_user()).refresh

    assert open_socket(build_headers(origin=None, token=token))["user"] == "nobody"


def test_a_deactivated_person_is_nobody() -> None:
    alice = make_user()
    client, token = sign_in(alice), tokens.create_pair(user=alice).access

    services.deactivate_user(user=alice)

    assert open_socket(build_headers(client=client))["user"] == "nobody"
    assert open_socket(build_headers(token=token))["user"] == "nobody"


def test_a_session_from_before_a_new_password_is_nobody() -> None:
    alice = make_user()
    client = sign_in(alice)

    services.change_password(user=alice, password="another long password")

    assert open_socket(build_headers(client=client))["user"] == "nobody"


def test_a_session_that_logged_out_is_nobody() -> None:
    client = sign_in(make_user())
    headers = build_headers(client=client)

    client.post("/accounts/logout/")

    assert open_socket(headers)["user"] == "nobody"


@async_to_sync
async def hear(user_id: int, act: Any) -> dict[str, Any]:
    """What a socket of this person is told when `act` runs in a request's thread."""
    layer = get_channel_layer()
    channel = await layer.new_channel()
    await layer.group_add(f"user.{user_id}", channel)
    try:
        await sync_to_async(act)()
        message: dict[str, Any] = await asyncio.wait_for(layer.receive(channel), 5)
        return message
    finally:
        await layer.group_discard(f"user.{user_id}", channel)


def test_closing_reaches_every_socket_of_the_person() -> None:
    assert hear(7, lambda: close_for(7)) == {"type": "session.ended", "session": ""}


def test_deactivating_closes_sockets() -> None:
    alice = make_user()

    assert hear(alice.pk, lambda: services.deactivate_user(user=alice))["type"] == "session.ended"


def test_a_new_password_closes_sockets() -> None:
    alice = make_user()

    assert hear(alice.pk, lambda: services.change_password(user=alice, password="x"))["type"] == "session.ended"


def test_a_new_password_set_in_the_admin_closes_sockets() -> None:
    alice, client = make_user(), sign_in(make_ada())
    form = {
        "usable_password": "true",
        "password1": "another long password",
        "password2": "another long password",
        "set-password": "1",
    }

    message = hear(alice.pk, lambda: client.post(f"/admin/accounts/user/{alice.pk}/password/", form))

    assert message["type"] == "session.ended"
    alice.refresh_from_db()
    assert alice.check_password("another long password")


def test_one_s_own_new_password_in_the_admin_closes_sockets() -> None:
    ada = make_ada()
    client = sign_in(ada)
    new = "another long password"
    form = {"old_password": PASSWORD, "new_password1": new, "new_password2": new}

    message = hear(ada.pk, lambda: client.post("/admin/password_change/", form))

    assert message == {"type": "session.ended", "session": ""}
    ada.refresh_from_db()
    assert ada.check_password(new)
    assert client.get("/admin/password_change/done/").status_code == 200, "this browser stays signed in"


@pytest.mark.parametrize("door", ["/accounts/logout/", "/admin/logout/"])
def test_logging_out_names_only_this_session(door: str) -> None:
    ada = make_ada()
    client = sign_in(ada)
    digest = build_session_digest(client.session.session_key or "")

    message = hear(ada.pk, lambda: client.post(door))

    assert message == {"type": "session.ended", "session": digest}


def test_with_the_bus_away_deactivating_still_works(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    class DeadLayer:
        async def group_send(self, _group: str, _message: dict[str, Any]) -> None:
            raise ConnectionRefusedError

    monkeypatch.setattr(sockets, "get_channel_layer", DeadLayer)
    alice = make_user()

    services.deactivate_user(user=alice)

    assert not User.objects.get().is_active
    assert "could not close the sockets" in caplog.text
