"""The product as `manage.py up` runs it, without the demo model, with the bench's upstream as its provider."""

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from tests.journeys.product import Product

# Whose CPU a token costs. The job worker stands apart: what it does goes by the clock, not by tokens.
SERVING = {"web": r"ops\.door", "worker": r"-Q replies", "valkey": r"valkey", "postgres": r"bin/postgres"}
APART = {"jobs": r"-Q default,ops"}


class Installation(Product):
    bearers: list[str]
    conversations: dict[str, list[str]]

    @property
    def environment(self) -> dict[str, str]:
        return super().environment | {"EMBEDDED_MODEL": "0"}

    def find_processes(self) -> dict[str, psutil.Process]:
        return {name: self.find(pattern) for name, pattern in (SERVING | APART).items()}

    def seed(self, **arguments: Any) -> None:
        made = self.call("seed", **arguments)
        self.bearers, self.conversations = made["bearers"], made["conversations"]

    def count_queries(self, **arguments: Any) -> dict[str, Any]:
        return self.call("count_queries", **arguments)

    def call(self, function: str, **arguments: Any) -> dict[str, Any]:
        """A function of `tests.bench.seed` inside the product; what it printed."""
        code = f"from tests.bench import seed; seed.{function}(**{arguments!r})"
        ran = self.run("shell", "--no-imports", "-c", code)
        assert ran.returncode == 0, ran.stderr
        return dict(json.loads(ran.stdout.splitlines()[-1]))


@contextlib.contextmanager
def install() -> Iterator[Installation]:
    """In a home of its own, which is removed."""
    home = Path(tempfile.mkdtemp(prefix="chatbox-bench-"))
    home.chmod(0o711)  # PostgreSQL started by root runs as nobody
    installation = Installation(home)
    try:
        installation.start()
        yield installation
    finally:
        _remove(installation)


def _remove(installation: Installation) -> None:
    try:
        if installation.process is not None and not installation.has_ended():
            installation.stop()
    finally:
        if installation.process is not None and not installation.has_ended():
            installation.process.kill()
        shutil.rmtree(installation.home, ignore_errors=True)
