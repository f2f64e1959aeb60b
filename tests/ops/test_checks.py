"""A production start with a bad setting fails and names it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings

from ops import checks

ROOT = Path(__file__).parents[2]
GOOD = {
    "PRODUCTION": "1",
    "SECRET_KEY": "Zq3vT8nLw5RjXk1Bm7YcHs2Fd9GpAe4UiOoKtWyVbNxMlQrJ",
    "JWT_SECRET": "Hk8sPd2WfLq6TzVn4XbGy1RcMj9EuAo3IiKtSwYvBxNlQrJ0",
    "ENCRYPTION_KEYS": Fernet.generate_key().decode(),
    "PUBLIC_URL": "https://chat.example.com",
    "ALLOWED_HOSTS": "chat.example.com",
    "DATABASE_URL": "postgres://chatbox:pw@db.example.com/chatbox",
    "REDIS_URL": "redis://bus.example.com/0",
}
GOOD["SECRET_KEY"] += "7a"
GOOD["JWT_SECRET"] += "7b"
BAD: list[tuple[str, str]] = [
    ("SECRET_KEY", ""),
    ("SECRET_KEY", "short"),
    ("SECRET_KEY", "a" * 64),
    ("SECRET_KEY", "change-me-" + GOOD["SECRET_KEY"]),
    ("SECRET_KEY", "django-insecure-" + GOOD["SECRET_KEY"]),
    ("JWT_SECRET", ""),
    ("JWT_SECRET", "short"),
    ("JWT_SECRET", GOOD["SECRET_KEY"]),
    ("ENCRYPTION_KEYS", ""),
    ("ENCRYPTION_KEYS", "short"),
    ("ENCRYPTION_KEYS", GOOD["ENCRYPTION_KEYS"] + ",short"),
    ("ALLOWED_HOSTS", "*"),
    ("ALLOWED_HOSTS", ".example.com"),
    ("PUBLIC_URL", ""),
    ("PUBLIC_URL", "http://chat.example.com"),
    ("WEBSOCKET_ORIGINS", "*"),
    ("WEBSOCKET_ORIGINS", "https://*.example.com"),
    ("WEBSOCKET_ORIGINS", "http://chat.example.com"),
]


def run_check(home: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    """`manage.py check --deploy` as an operator runs it, with nothing in the environment but these."""
    environment = {"PATH": os.environ["PATH"], "CHATBOX_HOME": str(home), **GOOD, **changes}
    command = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_a_good_production_environment_passes(tmp_path: Path) -> None:
    result = run_check(tmp_path)

    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(("name", "value"), [("SECRET_KEY", ""), ("JWT_SECRET", "short"), ("ENCRYPTION_KEYS", "")])
def test_the_command_fails_and_names_the_secret(tmp_path: Path, name: str, value: str) -> None:
    result = run_check(tmp_path, **{name: value})

    assert result.returncode != 0
    assert name in result.stderr


def test_the_command_names_all_that_is_missing(tmp_path: Path) -> None:
    result = run_check(tmp_path, JWT_SECRET="", ENCRYPTION_KEYS="", ALLOWED_HOSTS="*", PUBLIC_URL="")

    assert result.returncode != 0
    for name in ("JWT_SECRET", "ENCRYPTION_KEYS", "ALLOWED_HOSTS", "PUBLIC_URL"):
        assert name in result.stderr


def use(settings: Settings, **changes: str) -> None:
    """Django's settings as chatbox.settings would make them of this environment."""
    given = GOOD | changes
    origins = given.get("WEBSOCKET_ORIGINS") or given["PUBLIC_URL"]
    settings.PRODUCTION = True
    settings.SECRET_KEY, settings.JWT_SECRET = given["SECRET_KEY"], given["JWT_SECRET"]
    settings.ENCRYPTION_KEYS = [key for key in given["ENCRYPTION_KEYS"].split(",") if key]
    settings.PUBLIC_URL, settings.ALLOWED_HOSTS = given["PUBLIC_URL"], given["ALLOWED_HOSTS"].split(",")
    settings.WEBSOCKET_ORIGINS = [origin for origin in origins.split(",") if origin]
    settings.CSRF_TRUSTED_ORIGINS = [given["PUBLIC_URL"]] if given["PUBLIC_URL"] else []


def test_a_good_start_is_let_through(settings: Settings) -> None:
    use(settings)

    checks.refuse_unsafe_settings()


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_server_refuses_to_start_and_names_the_setting(settings: Settings, name: str, value: str) -> None:
    use(settings, **{name: value})

    with pytest.raises(ImproperlyConfigured, match=name) as caught:
        checks.refuse_unsafe_settings()

    assert not value or value in {"*", "short"} or "SECRET" not in name or value not in str(caught.value)


def test_debug_is_refused(settings: Settings) -> None:
    use(settings)
    settings.DEBUG = True

    with pytest.raises(ImproperlyConfigured, match="DEBUG"):
        checks.refuse_unsafe_settings()


def test_on_a_laptop_nothing_is_demanded(settings: Settings) -> None:
    settings.PRODUCTION, settings.JWT_SECRET = False, ""

    checks.refuse_unsafe_settings()


@pytest.mark.parametrize("name", ["CELERY_ACCEPT_CONTENT", "SESSION_SERIALIZER", "CACHES"])
def test_pickle_is_refused_everywhere(settings: Settings, name: str) -> None:
    pickles = {
        "CELERY_ACCEPT_CONTENT": ["json", "pickle"],
        "SESSION_SERIALIZER": "django.contrib.sessions.serializers.PickleSerializer",
        "CACHES": {"default": {"BACKEND": "django_redis.cache.RedisCache"}},
    }
    setattr(settings, name, pickles[name])

    assert any(name in finding.msg for finding in checks.check_serializers())


def test_a_missing_sanitiser_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "find_spec", lambda _: None)

    assert [finding.id for finding in checks.check_packages()] == ["chatbox.E002"]


@pytest.mark.parametrize(("installed", "is_fine"), [("4.2.1", False), ("4.2.2", True), ("4.10.0", True), ("5.0", True)])
def test_an_old_daphne_is_found(monkeypatch: pytest.MonkeyPatch, installed: str, is_fine: bool) -> None:
    monkeypatch.setattr(checks, "version", lambda _: installed)

    assert (checks.check_packages() == []) is is_fine
