"""A product of four small files, so that the tests of `up` are about `up` and take seconds.

The engines, the supervisor, daphne and celery are the real ones.
"""

import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

from ops.engines import process

CHECKOUT = Path(__file__).resolve().parents[2]
FILES = {
    "manage.py": 'print("first account\\thttp://127.0.0.1/the-link")\n',
    "chatbox/__init__.py": "",
    "chatbox/asgi.py": """\
from pathlib import Path

async def application(scope, receive, send):
    status = 503 if Path("unready").exists() else 200
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b"bus: gone" if status == 503 else b"ok"})
""",
    "chatbox/celery.py": """\
import os
from celery import Celery
from click import Option

app = Celery("chatbox", broker=os.environ["BROKER"])
app.user_options["worker"].add(Option(["--with-beat"], is_flag=True))
""",
    "run.py": """\
import signal, sys, threading
from pathlib import Path
from ops.engines import running, secrets
from ops.engines.errors import EngineError
from ops.engines.programs import Plan

base, run, port = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
home = base / "var"
secrets.ensure(home)
plan = Plan(
    base=base, home=home, run=run, bind="127.0.0.1", port=port, address=f"http://127.0.0.1:{port}",
    has_database=True, has_bus=True, has_model=False, reply_concurrency=2,
    postgres_password=secrets.read(home)["POSTGRES_PASSWORD"],
)
stopping = threading.Event()
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, frame: stopping.set())
try:
    running.run(plan, say=lambda line: print(line, flush=True), stopping=stopping, is_check="--check" in sys.argv)
except EngineError as error:
    sys.exit(str(error))
""",
}


def make_product(base: Path) -> None:
    for name, text in FILES.items():
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_text(text)


def find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True, slots=True)
class StandIn:
    """One installation of it; `start` may be called again and again."""

    base: Path
    run: Path
    port: int

    @property
    def output(self) -> Path:
        return self.base / "output.txt"

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        self.output.write_text("")
        inherited = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
        environment = inherited | {
            "PYTHONPATH": str(CHECKOUT),
            "BROKER": f"redis+socket://{self.run}/valkey.sock",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        argv = [sys.executable, str(self.base / "run.py"), str(self.base), str(self.run), str(self.port), *options]
        with self.output.open("ab") as output:
            return subprocess.Popen(argv, cwd=self.base, env=environment, stdout=output, stderr=output)

    def wait_for(self, words: str, *, by: subprocess.Popen[bytes]) -> None:
        process.wait_until(
            lambda: words in self.output.read_text(),
            name=f"up, which should say {words!r},",
            timeout_s=60,
            log=self.output,
            is_alive=lambda: by.poll() is None or words in self.output.read_text(),
        )

    def start_ready(self) -> subprocess.Popen[bytes]:
        up = self.start()
        self.wait_for("is ready after", by=up)
        return up

    def list_processes(self) -> list[psutil.Process]:
        """Everything that works in or for this installation, PostgreSQL's children included."""
        found = [candidate for candidate in psutil.process_iter() if self._is_ours(candidate)]
        return [candidate for candidate in found if candidate.pid != os.getpid()]

    def _is_ours(self, candidate: psutil.Process) -> bool:
        try:
            return str(self.base) in " ".join(candidate.cmdline()) or Path(candidate.cwd()).is_relative_to(self.base)
        except (psutil.Error, OSError):
            return False
