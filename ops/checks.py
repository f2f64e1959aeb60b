"""Settings that would make an installation unsafe, found before it starts. Each finding names the variable to set."""

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any, cast
from urllib.parse import urlsplit

from cryptography.fernet import Fernet
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.exceptions import ImproperlyConfigured

SECRET_MIN_CHARACTERS = 50  # Django's own limit for SECRET_KEY (security.W009)
SECRET_MIN_DIFFERENT = 5
PLACEHOLDERS = ("django-insecure", "change", "replace", "example", "default", "secret", "your-", "todo", "xxx", "test")
DAPHNE_MINIMUM = (4, 2, 2)  # below: unbounded WebSocket messages and smuggled headers, CVE-2026-44545 and -44546


def refuse_unsafe_settings() -> None:
    """Called where a server process starts. Raises ImproperlyConfigured with every finding."""
    findings = [*check_production(), *check_packages(), *check_serializers()]
    if findings:
        raise ImproperlyConfigured("Chatbox will not start: " + " ".join(f"{finding.msg}" for finding in findings))


@register(Tags.security)
def check_production(**_options: Any) -> list[CheckMessage]:
    """The profile PRODUCTION=1 takes no default, short or missing secret and no open door."""
    if not settings.PRODUCTION:
        return []
    messages = [*_find_weak_secrets(), *_find_bad_encryption_keys(), *_find_open_doors()]
    return [Error(message, id="chatbox.E001") for message in messages]


@register(Tags.security)
def check_packages(**_options: Any) -> list[CheckMessage]:
    """A missing sanitiser must stop the start, never turn into a page that sanitises nothing."""
    findings: list[CheckMessage] = []
    if find_spec("nh3") is None:
        findings.append(Error("The package nh3 is missing: nothing would sanitise what models write.", id="chatbox.E002"))
    if _get_version("daphne") < DAPHNE_MINIMUM:
        findings.append(Error("The package daphne must be 4.2.2 or newer.", id="chatbox.E003"))
    return findings


@register(Tags.security)
def check_serializers(**_options: Any) -> list[CheckMessage]:
    """Only JSON: who can write to the broker, the cache or a session must not be able to run code."""
    messages = []
    if settings.CELERY_TASK_SERIALIZER != "json" or settings.CELERY_ACCEPT_CONTENT != ["json"]:
        messages.append("CELERY_TASK_SERIALIZER and CELERY_ACCEPT_CONTENT must allow JSON only.")
    if settings.SESSION_SERIALIZER != "django.contrib.sessions.serializers.JSONSerializer":
        messages.append("SESSION_SERIALIZER must be JSON.")
    for name, cache in settings.CACHES.items():
        options = cast("dict[str, str]", cache.get("OPTIONS", {}))
        if "JSON" not in options.get("SERIALIZER", ""):
            messages.append(f"CACHES[{name!r}] must use a JSON serializer.")
    return [Error(message, id="chatbox.E004") for message in messages]


def _find_weak_secrets() -> Iterator[str]:
    for name in ("SECRET_KEY", "JWT_SECRET"):
        if reason := _find_weakness(getattr(settings, name)):
            yield f"{name} {reason}"
    if settings.SECRET_KEY and settings.SECRET_KEY == settings.JWT_SECRET:
        yield "JWT_SECRET is the same as SECRET_KEY. Each needs a value of its own."


def _find_weakness(secret: str) -> str:
    if not secret:
        return "is missing."
    if len(secret) < SECRET_MIN_CHARACTERS or len(set(secret)) < SECRET_MIN_DIFFERENT:
        return f"is too short or too simple. Use at least {SECRET_MIN_CHARACTERS} random characters."
    if secret.lower().startswith(PLACEHOLDERS):
        return "is still the example. Use random characters."
    return ""


def _find_bad_encryption_keys() -> Iterator[str]:
    if not settings.ENCRYPTION_KEYS:
        yield "ENCRYPTION_KEYS is missing."
    for position, key in enumerate(settings.ENCRYPTION_KEYS, start=1):
        try:
            Fernet(key)
        except ValueError:
            yield f"ENCRYPTION_KEYS: key {position} is not a Fernet key (32 random bytes, URL-safe base64)."


def _find_open_doors() -> Iterator[str]:
    if settings.DEBUG:
        yield "DEBUG must be off."
    if not settings.PUBLIC_URL:
        yield "PUBLIC_URL is missing: the address people open, for example https://chat.example.com."
    elif not _is_exact_https_origin(settings.PUBLIC_URL):
        yield "PUBLIC_URL must be an https:// address without a path."
    if not settings.ALLOWED_HOSTS or any("*" in host or host.startswith(".") for host in settings.ALLOWED_HOSTS):
        yield "ALLOWED_HOSTS must list exact host names."
    for name in ("WEBSOCKET_ORIGINS", "CSRF_TRUSTED_ORIGINS"):
        for origin in getattr(settings, name):
            if not _is_exact_https_origin(origin):
                yield f"{name}: {origin!r} is not an exact https:// origin."


def _is_exact_https_origin(origin: str) -> bool:
    parts = urlsplit(origin)
    return parts.scheme == "https" and bool(parts.hostname) and "*" not in origin and origin == f"https://{parts.netloc}"


def _get_version(package: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in version(package).split(".")[:3] if part.isdigit())
    except PackageNotFoundError:
        return ()
