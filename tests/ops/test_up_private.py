"""A running product: what it says is seen at once, its logs and secrets are seen by few, its door is the limited one."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from urllib.parse import urlencode

import psutil
import pytest
from django.conf import settings
from django.urls import reverse

from ops.engines import paths, process, secrets, supervisor
from tests.ops.standin import find_free_port

MIB = 1024 * 1024
LOGIN = reverse("accounts:login")
GIVEN = ("SECRET_KEY", "JWT_SECRET", "ENCRYPTION_KEYS", "POSTGRES_PASSWORD", "LOCAL_MODEL_KEY", "EMBEDDED_MODEL")


@dataclass(frozen=True, slots=True)
class Running:
    home: Path
    port: int
    output: Path

    def find(self, name: str) -> psutil.Process:
        return psutil.Process(supervisor.get_state(paths.run_directory(self.home), name).pid)

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[HTTPResponse, str]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response, response.read().decode()
        finally:
            connection.close()


@pytest.fixture(scope="module")
def product() -> Iterator[Running]:
    """`manage.py up > file` by somebody with secrets in the environment and a generous umask."""
    home = Path(tempfile.mkdtemp(prefix="chatbox-v-"))
    home.chmod(0o711)
    running = Running(home, find_free_port(), home / "said.txt")
    environment = {name: value for name, value in os.environ.items() if name not in GIVEN}
    environment |= {name: make() for name, make in secrets.MAKERS.items()}
    environment |= {"CHATBOX_HOME": str(home), "PORT": str(running.port), "PROVIDER_KEY": "visible"}
    with running.output.open("wb") as output:
        up = subprocess.Popen(
            [sys.executable, "manage.py", "up"],
            cwd=settings.BASE_DIR,
            env=environment,
            stdout=output,
            stderr=output,
            umask=0o022,
        )
    try:
        process.wait_until(
            lambda: "is ready after" in running.output.read_text(),
            name="up, whose lines a file should hold while it runs,",
            timeout_s=90,
            log=running.output,
            is_alive=lambda: up.poll() is None,
        )
        yield running
    finally:
        process.end(up, with_signal=signal.SIGINT, timeout_s=60)
        shutil.rmtree(paths.run_directory(home), ignore_errors=True)
        shutil.rmtree(home)


def test_every_log_is_for_its_owner_alone(product: Running) -> None:
    logs = {log.name: stat.S_IMODE(log.stat().st_mode) for log in (product.home / "log").iterdir()}
    assert {"postgres.log", "prepare.log", "supervisord.log", "model.log", "web.log"} <= logs.keys()
    assert set(logs.values()) == {0o600}, logs


def test_model_has_its_own_key_and_no_other_secret(product: Running) -> None:
    found = product.find("model").environ()
    assert found["CHATBOX_HOME"] == str(product.home)
    assert found["LOCAL_MODEL_KEY"]
    assert found.keys().isdisjoint({*secrets.MAKERS, "PROVIDER_KEY"} - {"LOCAL_MODEL_KEY"})
    assert found.keys() <= {"CHATBOX_HOME", "LOCAL_MODEL_KEY", "PYTHONPATH", "HOME", "LANG", "PATH", "TMPDIR", "LC_CTYPE"}


def test_login_is_answered_and_a_long_body_is_not(product: Running) -> None:
    response, page = product.ask("GET", LOGIN)
    assert response.status == 200
    cookie = (response.getheader("Set-Cookie") or "").partition(";")[0]
    token = page.partition('name="csrfmiddlewaretoken" value="')[2].partition('"')[0]
    form = urlencode({"csrfmiddlewaretoken": token, "username": "nobody@example.org", "password": "x" * 1000}).encode()
    headers = {"Cookie": cookie, "Content-Type": "application/x-www-form-urlencoded"}
    response, page = product.ask("POST", LOGIN, form, headers)
    assert response.status == 200
    assert "nobody@example.org" in page

    web = product.find("web")
    before = web.memory_info().rss
    response, _ = product.ask("POST", LOGIN, form + b"x" * 60 * MIB, headers)
    assert response.status == 413
    assert web.memory_info().rss - before < 30 * MIB
