"""What every response carries."""

import re

import pytest
from django.test import Client

pytestmark = pytest.mark.django_db

PAGES = ["/accounts/login/", "/livez", "/no/such/page", "/api/v1/me", "/api/v1/schema", "/accounts/logout/", "/metrics"]


@pytest.mark.parametrize("url", PAGES)
def test_security_headers_are_on_every_answer(client: Client, url: str) -> None:
    headers = client.get(url).headers

    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "camera=()" in headers["Permissions-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert "Server" not in headers


@pytest.mark.parametrize("url", ["/accounts/login/", "/no/such/page", "/api/v1/me", "/metrics"])
def test_personal_answers_are_not_kept(client: Client, url: str) -> None:
    assert "no-store" in client.get(url).headers["Cache-Control"]


def test_each_request_has_an_id_of_ours(client: Client) -> None:
    first = client.get("/livez", headers={"X-Request-ID": "forged\n"}).headers["X-Request-ID"]
    second = client.get("/livez").headers["X-Request-ID"]

    assert re.fullmatch(r"[0-9a-f]{32}", first)
    assert first != second


def test_an_error_names_the_request(client: Client) -> None:
    response = client.get("/api/v1/me")

    assert response.json()["error"]["request_id"] == response.headers["X-Request-ID"]


@pytest.mark.parametrize("method", ["TRACE", "TRACK", "CONNECT"])
def test_methods_that_echo_are_refused(client: Client, method: str) -> None:
    assert client.generic(method, "/livez").status_code == 405


@pytest.mark.parametrize("host", ["evil.test", "localhost.evil.test", "", "localhost:80:80", "*"])
def test_another_host_is_refused(client: Client, host: str) -> None:
    assert client.get("/accounts/login/", headers={"Host": host}).status_code == 400


def test_a_forwarded_host_is_ignored(client: Client) -> None:
    response = client.get("/admin/", headers={"X-Forwarded-Host": "evil.test"}, follow=True)

    assert response.status_code == 200
    assert "evil.test" not in response.content.decode()


@pytest.mark.parametrize("url", ["/.git/config", "/.env", "/static/../manage.py", "/static/%2e%2e/manage.py", "/flower"])
def test_what_is_not_ours_to_show_is_not_there(client: Client, url: str) -> None:
    assert client.get(url).status_code == 404


def test_another_origin_gets_no_permission(client: Client) -> None:
    headers = {"Origin": "https://evil.test", "Access-Control-Request-Method": "POST"}
    response = client.options("/api/v1/me", headers=headers)

    assert "Access-Control-Allow-Origin" not in response.headers
