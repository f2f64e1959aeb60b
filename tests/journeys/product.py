"""The product as a newcomer has it: `manage.py up` in a fresh directory, on a free port, with the real model."""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parent.parent.parent
START_S = 120
STOP_S = 90
ENGINE_VARIABLES = {
    "DATABASE_URL", "REDIS_URL", "CACHE_URL", "CHATBOX_HOME", "SECRET_KEY", "JWT_SECRET", "ENCRYPTION_KEYS",
    "POSTGRES_PASSWORD", "LOCAL_MODEL_KEY", "EMBEDDED_MODEL", "DJANGO_SETTINGS_MODULE",
}  # fmt: skip


def find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Product:
    home: Path
    port: int = field(default_factory=find_free_port)
    lines: list[str] = field(default_factory=list)
    process: "subprocess.Popen[str] | None" = None
    reader: threading.Thread = field(default_factory=threading.Thread)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def setup_link(self) -> str:
        """The last one printed: a restart voids the ones before."""
        return next(line.split()[-1] for line in reversed(self.lines) if "/accounts/setup/" in line)

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name not in ENGINE_VARIABLES}
        return kept | {"CHATBOX_HOME": str(self.home), "PORT": str(self.port), "PYTHONUNBUFFERED": "1"}

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "up"],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.reader = threading.Thread(target=self._read, args=(self.process,), daemon=True)
        self.reader.start()
        seen = len(self.lines)
        wait_until(lambda: any("is ready" in line for line in self.lines[seen:]) or self.has_ended(), START_S, self.lines)
        assert not self.has_ended(), "\n".join(self.lines)

    def _read(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                self.lines.append(line.rstrip())

    def has_ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def stop(self) -> int:
        """As Ctrl-C does. The exit status."""
        assert self.process is not None
        family = psutil.Process(self.process.pid).children(recursive=True) if not self.has_ended() else []
        self.process.send_signal(signal.SIGINT)
        status = self.process.wait(STOP_S)
        self.reader.join(STOP_S)
        assert [child for child in family if child.is_running() and child.status() != psutil.STATUS_ZOMBIE] == [], "orphans"
        return status

    def find(self, pattern: str) -> psutil.Process:
        """The product's process whose command line matches."""
        assert self.process is not None
        for child in psutil.Process(self.process.pid).children(recursive=True):
            if re.search(pattern, " ".join(child.cmdline())):
                return child
        raise AssertionError(f"no process matches {pattern!r}")

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Another command of the same installation."""
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


def make_product() -> Product:
    home = Path(tempfile.mkdtemp(prefix="chatbox-journey-"))
    home.chmod(0o711)  # PostgreSQL started by root runs as nobody
    return Product(home)


def wait_until(claim: Callable[[], Any], timeout_s: float = 30, told: object = "") -> Any:
    """Poll a claim until it holds and return its value."""
    deadline = time.monotonic() + timeout_s
    while not (value := claim()):
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {told}"
        time.sleep(0.05)
    return value
