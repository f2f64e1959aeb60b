"""The doctor finds what is broken, says it, and exits non-zero."""

import os
from io import StringIO
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connections
from pytest_django import Settings

from ops import doctor, invariants
from providers.models import Provider

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _only_our_invariants(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = {key: rule for key, rule in doctor._invariants.items() if key[0] == "INV8"}
    monkeypatch.setattr(doctor, "_invariants", ours)


def run_doctor() -> str:
    out = StringIO()
    call_command("doctor", stdout=out, no_color=True)
    return out.getvalue()


def test_a_healthy_installation_is_told_so() -> None:
    Provider.objects.create(name="Hosted", base_url="https://api.example.test", api_key="sk-something")

    assert run_doctor().splitlines() == [
        "INV8  Every stored secret can be opened: OK",
        "INV8  No forgotten temporary file: OK",
        "INV8  No leaked database connection: OK",
    ]


def test_a_secret_that_no_key_opens_is_named_but_not_shown(settings: Settings) -> None:
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    lost = Provider.objects.create(name="Lost", base_url="https://api.example.test", api_key="sk-something")
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    Provider.objects.create(name="Fine", base_url="https://api.example.test", api_key="sk-something")
    Provider.objects.create(name="Keyless", base_url="https://api.example.test")

    findings = invariants.find_undecipherable_secrets()

    assert findings == [f"providers.Provider {lost.pk}: no key of ENCRYPTION_KEYS opens `api_key`"]
    with pytest.raises(CommandError, match="1 of the invariants"):
        run_doctor()


def test_old_half_written_files_are_found(tmp_path: Path, settings: Settings) -> None:
    settings.CHATBOX_HOME = tmp_path
    old, new = tmp_path / "backup.partial", tmp_path / "running.partial"
    for file in (old, new):
        file.touch()
    os.utime(old, (0, 0))

    assert invariants.find_forgotten_files() == [f"left behind: {old}"]


def test_a_transaction_left_open_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invariants, "TRANSACTION_MAX", "0 seconds")
    forgotten = connections.create_connection("default")
    try:
        forgotten.set_autocommit(False)
        with forgotten.cursor() as cursor:
            cursor.execute("SELECT 1")
        assert any("idle in transaction" in finding for finding in invariants.find_leaked_connections())
    finally:
        forgotten.rollback()
        forgotten.close()


def test_a_check_that_cannot_run_is_a_finding() -> None:
    def explode() -> list[str]:
        raise OSError("disk gone")

    doctor.register(code="INV8", title="Explodes", check=explode)

    verdicts = {verdict.title: verdict.findings for verdict in doctor.examine()}
    assert verdicts["Explodes"] == ("could not be checked: OSError: disk gone",)
    assert len(verdicts) == 4
