"""Real engines for the test run: one PostgreSQL and one Valkey in a directory of its own.

A pytest plugin (`-p tests.engines`). It runs before Django's settings are imported, so
nothing here imports Django: settings find the engines through CHATBOX_HOME, as they do
in production. A run never touches data that DATABASE_URL or REDIS_URL point to.
"""

import atexit
import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ops.engines import paths, postgres, secrets, valkey

engines = ExitStack()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests() -> Generator[None, None, None]:
    """Before pytest-django's hook of this name, which imports settings."""
    start_engines()
    return (yield)


def pytest_unconfigure() -> None:
    """Stop both, remove the directory. Also at exit, should pytest fail before this."""
    engines.close()


def start_engines() -> None:
    """Start both and point the environment at them (about 1.5 s)."""
    atexit.register(engines.close)
    home = Path(tempfile.mkdtemp(prefix="chatbox-tests-")).resolve()
    home.chmod(0o711)  # PostgreSQL started by root runs as nobody
    run, log = paths.run_directory(home), home / "log"
    for directory in (home, run):
        engines.callback(shutil.rmtree, directory, ignore_errors=True)
    set_environment(home)
    password = os.environ["POSTGRES_PASSWORD"]
    database = postgres.start(
        data=home / "pg",
        run=run,
        password=password,
        log=log / "postgres.log",
        settings=postgres.THROWAWAY,
        sync=False,
    )
    engines.callback(postgres.stop, database)
    postgres.create_database(run=run, password=password)
    bus = valkey.start(
        data=home / "valkey",
        run=run,
        log=log / "valkey.log",
        settings={"appendfsync": "no"},
    )
    engines.callback(valkey.stop, bus)


def set_environment(home: Path) -> None:
    """What `manage.py up` would set, with fresh secrets and without the model."""
    for name in ("DATABASE_URL", "REDIS_URL", "CACHE_URL", "STANDBY_DATABASE_URL"):
        os.environ.pop(name, None)
    secrets.ensure(home)
    os.environ |= {"CHATBOX_HOME": str(home), "EMBEDDED_MODEL": "0"} | secrets.read(home)
