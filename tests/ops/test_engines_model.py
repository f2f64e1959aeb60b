"""The demo model: answers with the key only, on loopback only, and ends when it is told to."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import psutil
import pytest
from django.conf import settings

from ops.engines import model, paths, process, secrets


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
    home = Path(tempfile.mkdtemp(prefix="chatbox-m-"))
    run = paths.run_directory(home)
    paths.ensure_private(run)
    secrets.ensure(home)
    environment = {name: value for name, value in os.environ.items() if name != "LOCAL_MODEL_KEY"}
    server = process.spawn(
        model.command(), log=home / "model.log", env=environment | {"CHATBOX_HOME": str(home)}, cwd=settings.BASE_DIR
    )
    try:
        model.wait_ready(run=run, log=home / "model.log", is_alive=lambda: server.poll() is None)
        yield home, server
    finally:
        began_at = time.monotonic()
        process.end(server, with_signal=model.STOP_SIGNAL, timeout_s=20)
        shutil.rmtree(home)
    assert server.returncode == -signal.SIGTERM
    assert time.monotonic() - began_at < 5


def ask(home: Path, *, key: str) -> tuple[int, dict[str, Any]]:
    """Return the status and the decoded body."""
    body = {
        "model": model.MODEL_ID,
        "messages": [{"role": "user", "content": "What is the capital of France?"}],
        "max_tokens": 24,
    }
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    with closing(HTTPConnection("127.0.0.1", model.find_port(paths.run_directory(home)), timeout=60)) as connection:
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        response = connection.getresponse()
        return response.status, json.load(response)


def test_model_answers_a_question(served: tuple[Path, subprocess.Popen[bytes]]) -> None:
    home, _ = served
    status, answer = ask(home, key=secrets.read(home)["LOCAL_MODEL_KEY"])
    assert status == 200
    assert "Paris" in answer["choices"][0]["message"]["content"]
    assert answer["model"] == model.MODEL_ID


def test_model_refuses_a_wrong_key(served: tuple[Path, subprocess.Popen[bytes]]) -> None:
    home, _ = served
    assert ask(home, key="wrong")[0] == 401


def test_model_listens_on_loopback_and_logs_no_conversation(served: tuple[Path, subprocess.Popen[bytes]]) -> None:
    home, server = served
    listening = [item.laddr for item in psutil.Process(server.pid).net_connections() if item.status == "LISTEN"]
    assert {address.ip for address in listening} == {"127.0.0.1"}
    assert "France" not in (home / "model.log").read_text()
