"""The secrets of an installation: made once, kept in `secrets.env` beside the data.

Never in the database that they protect. Without Django: settings read the file.
"""

import base64
import os
import secrets
from collections.abc import Callable
from pathlib import Path


def _make_fernet_key() -> str:
    return base64.urlsafe_b64encode(os.urandom(32)).decode()


MAKERS: dict[str, Callable[[], str]] = {
    "SECRET_KEY": lambda: secrets.token_urlsafe(48),
    "JWT_SECRET": lambda: secrets.token_urlsafe(48),
    "ENCRYPTION_KEYS": _make_fernet_key,
    "POSTGRES_PASSWORD": lambda: secrets.token_urlsafe(24),
    "LOCAL_MODEL_KEY": lambda: secrets.token_urlsafe(24),
}


def read(home: Path) -> dict[str, str]:
    """Return the secrets of `home` by name; empty before the first `ensure`."""
    try:
        lines = (home / "secrets.env").read_text().splitlines()
    except FileNotFoundError:
        return {}
    pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
    return {name.strip(): value.strip().strip("'\"") for name, _, value in pairs}


def ensure(home: Path) -> None:
    """Add the secrets that `home` does not have yet. Existing lines are never changed.

    The file is replaced in one step, so a killed start leaves the old one or the new one.
    """
    home.mkdir(parents=True, exist_ok=True)
    path = home / "secrets.env"
    missing = [name for name in MAKERS if name not in read(home)]
    if not missing:
        return
    old = path.read_text() if path.exists() else ""
    if old and not old.endswith("\n"):
        old += "\n"
    _replace(path, old + "".join(f"{name}={MAKERS[name]()}\n" for name in missing))


def _replace(path: Path, text: str) -> None:
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
