"""Liveness, readiness and metrics: what is told, and to whom."""

import pytest
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client
from pytest_django import Settings

from ops import health

pytestmark = pytest.mark.django_db

TOKEN = "metrics-token-of-the-tests"
STRANGER = "203.0.113.7"


@pytest.fixture
def _broken_check(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ConnectionError("secret detail")

    monkeypatch.setitem(health._checks, "disk", fail)


def test_a_living_process_says_so(client: Client) -> None:
    response = client.get("/livez")

    assert (response.status_code, response.content) == (200, b"ok")


def test_a_ready_process_says_so(client: Client) -> None:
    response = client.get("/readyz", REMOTE_ADDR=STRANGER)

    assert (response.status_code, response.json()) == (200, {"status": "ok"})


@pytest.mark.usefixtures("_broken_check")
def test_a_process_that_cannot_serve_says_so_and_no_more(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    response = client.get("/readyz", REMOTE_ADDR=STRANGER)

    assert (response.status_code, response.json()) == (503, {"status": "unavailable"})
    assert client.get("/livez").status_code == 200
    assert "not ready: disk" in caplog.text


@pytest.mark.usefixtures("_broken_check")
def test_this_machine_sees_which_check_failed(client: Client) -> None:
    checks = client.get("/readyz", REMOTE_ADDR="127.0.0.1").json()["checks"]

    assert checks == {"database": "ok", "bus": "ok", "migrations": "ok", "disk": "failed"}


def test_pending_migrations_are_not_ready(client: Client) -> None:
    MigrationRecorder(connection).record_unapplied("sessions", "0001_initial")
    health.check_migrations.cache_clear()

    try:
        checks = client.get("/readyz").json()["checks"]
    finally:
        health.check_migrations.cache_clear()

    assert checks["migrations"] == "failed"


@pytest.mark.parametrize("url", ["/livez", "/readyz", "/metrics"])
@pytest.mark.parametrize("method", ["post", "put", "delete"])
def test_other_methods_are_refused(client: Client, url: str, method: str) -> None:
    assert getattr(client, method)(url).status_code == 405


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_this_machine_reads_metrics(client: Client, address: str) -> None:
    response = client.get("/metrics", REMOTE_ADDR=address)

    assert response.status_code == 200
    assert b"django_http_requests" in response.content


@pytest.mark.parametrize("address", [STRANGER, "10.0.0.1", "", "127.0.0.1, 10.0.0.1", "127.0.0.1.evil.test"])
def test_to_a_stranger_there_are_no_metrics(client: Client, address: str) -> None:
    assert client.get("/metrics", REMOTE_ADDR=address).status_code == 404


@pytest.mark.parametrize("header", health.FORWARDING_HEADERS)
def test_a_stranger_behind_a_proxy_on_this_machine_is_a_stranger(client: Client, header: str) -> None:
    response = client.get("/metrics", REMOTE_ADDR="127.0.0.1", headers={header: "127.0.0.1"})

    assert response.status_code == 404


def test_the_token_opens_metrics_from_anywhere(client: Client, settings: Settings) -> None:
    settings.METRICS_TOKEN = TOKEN

    response = client.get("/metrics", REMOTE_ADDR=STRANGER, headers={"Authorization": f"Bearer {TOKEN}"})

    assert response.status_code == 200


@pytest.mark.parametrize("token", ["", TOKEN])
@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Bearer wrong", f"Basic {TOKEN}", "Bearer é"])
def test_a_wrong_token_opens_nothing(client: Client, settings: Settings, token: str, header: str) -> None:
    settings.METRICS_TOKEN = token

    assert client.get("/metrics", REMOTE_ADDR=STRANGER, headers={"Authorization": header}).status_code == 404
