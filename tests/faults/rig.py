"""Everything a fault needs: the product as processes, a bus and a provider behind chaos proxies, a person and their devices."""

import asyncio
import os
import random
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import redis

from ops.engines import supervisor, valkey
from ops.engines.paths import run_directory
from tests.faults.api import EMAIL, PASSWORD, Api, Asked
from tests.faults.fake import FakeProcess
from tests.faults.promises import until
from tests.faults.proxy import ChaosProxy
from tests.faults.rows import Rows
from tests.faults.viewer import Viewer
from tests.journeys.product import Product

# Small, so that a silent provider is found out while we watch. No stream of a fault runs for longer than the last.
TIMEOUTS = {"REPLY_IDLE_TIMEOUT_S": "4", "REPLY_FIRST_TOKEN_TIMEOUT_S": "6", "REPLY_TIMEOUT_S": "25"}
# Answered directly, through the provider's proxy, and by scripts of their own.
DIRECT_MODELS = ("steady", "other", "silent")
PROXIED_MODELS = ("proxied",)
MAKE_MODELS = """
from providers.models import ChatModel, Provider
for name, url, models in {rows!r}:
    provider = Provider.objects.create(name=name, base_url=url, allow_private_address=True)
    for model in models:
        ChatModel.objects.create(provider=provider, name=model, is_default=model == "steady")
        print(model, ChatModel.objects.get(name=model).id)
"""
WORDS = ("lantern", "harbour", "quartz", "meadow", "naïve", "copper", "日本語", "orchard", "🦜🏽", "glacier", "pepper")


@dataclass
class FaultProduct(Product):
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return super().environment | self.extra


class Rig:
    def __init__(self, *, seed: int, is_short: bool) -> None:
        self.random = random.Random(seed)
        self.is_short = is_short
        self.home = Path(tempfile.mkdtemp(prefix="chatbox-faults-"))
        self.home.chmod(0o711)  # PostgreSQL started by root runs as nobody
        self.run = run_directory(self.home)
        self.fake = FakeProcess()
        self.bus_proxy = ChaosProxy(self.home / "bus" / valkey.SOCKET)
        self.provider_proxy = ChaosProxy(("127.0.0.1", self.fake.port))
        self.product = FaultProduct(self.home)
        self.api = Api(self.product.address)
        self.viewers: list[Viewer] = []
        self.scripted: set[str] = set()
        self.bus: subprocess.Popen[bytes] | None = None
        self.rows = Rows(self.home)

    # Life

    async def start(self) -> None:
        await self.bus_proxy.start()
        await self.provider_proxy.start()
        self.start_bus()
        account = {"DJANGO_SUPERUSER_EMAIL": EMAIL, "DJANGO_SUPERUSER_PASSWORD": PASSWORD}
        bus = {"REDIS_URL": f"redis://127.0.0.1:{self.bus_proxy.port}/0", "EMBEDDED_MODEL": "0"}
        self.product.extra = account | bus | TIMEOUTS
        await asyncio.to_thread(self.product.start)
        await self._make_models()
        await self.api.sign_in()

    async def _make_models(self) -> None:
        proxied = f"http://127.0.0.1:{self.provider_proxy.port}/v1"
        await self._add_models([("Direct", f"{self.fake.address}/v1", DIRECT_MODELS), ("Proxied", proxied, PROXIED_MODELS)])

    async def add_model(self, name: str, url: str) -> None:
        """A model of a provider of its own."""
        await self._add_models([(name.title(), url, (name,))])

    async def _add_models(self, rows: list[tuple[str, str, tuple[str, ...]]]) -> None:
        made = await asyncio.to_thread(self.product.run, "shell", "-c", MAKE_MODELS.format(rows=rows))
        assert made.returncode == 0, made.stderr
        names = tuple(name for _, _, models in rows for name in models)
        self.api.models |= dict(line.split() for line in made.stdout.splitlines() if line.startswith(names))

    async def stop(self) -> None:
        """In order. Raises AssertionError for orphans."""
        try:
            await self.heal()
            await self.close_viewers()
            await self.api.close()
            if self.product.process is not None:
                assert await asyncio.to_thread(self.product.stop) == 0, "the product did not end well"
        finally:
            self._end_all()
            await self.bus_proxy.stop()
            await self.provider_proxy.stop()
            shutil.rmtree(self.home, ignore_errors=True)

    def _end_all(self) -> None:
        if self.product.process is not None and not self.product.has_ended():
            process = psutil.Process(self.product.process.pid)
            for member in (process, *process.children(recursive=True)):
                member.kill()
        self.stop_bus()
        self.fake.stop()

    async def heal(self) -> None:
        """Everything back as it should be, whatever a fault left."""
        self.start_bus()
        await self.bus_proxy.heal()
        await self.provider_proxy.heal()
        await self.fake.script()
        for name in ("replies", "jobs", "web"):
            for process in self.find_all(name):
                process.send_signal(signal.SIGCONT)
        await asyncio.to_thread(supervisor.start_program, self.run, "postgres")

    async def close_viewers(self) -> None:
        for viewer in self.viewers:
            await viewer.close()
        self.viewers.clear()

    # Engines and processes

    def start_bus(self) -> None:
        if self.bus is None:
            data, run = self.home / "valkey", self.home / "bus"
            self.bus = valkey.start(data=data, run=run, log=self.home / "bus.log")

    def stop_bus(self) -> None:
        if self.bus is not None:
            valkey.stop(self.bus)
            self.bus = None

    def ask_bus(self, *command: str) -> None:
        with redis.Redis(unix_socket_path=str(self.home / "bus" / valkey.SOCKET)) as client:
            client.execute_command(*command)

    def find_all(self, name: str) -> list[psutil.Process]:
        """The processes of a program: `replies`, `jobs`, `web`. There should be one."""
        word = {"replies": "replies@", "jobs": "jobs@", "web": "ops.door"}[name]
        family = psutil.Process(self.product.process.pid).children(recursive=True) if self.product.process else []
        return [process for process in family if any(part.startswith(word) for part in read_command(process))]

    def find(self, name: str) -> psutil.Process:
        return self.find_all(name)[0]

    async def wait_restarted(self, name: str, old: psutil.Process, timeout_s: float = 15) -> float:
        return await until(
            lambda: any(process != old for process in self.find_all(name)), timeout_s, f"a new process of {name}"
        )

    def read_log(self, name: str) -> str:
        return (self.home / "log" / f"{name}.log").read_text(errors="replace")

    # People

    def write_question(self, *, seconds: float = 5.0) -> str:
        """One that nobody asked before, whose answer takes about that long."""
        words = [f"Q{self.random.getrandbits(48):012x}"]
        while len(" ".join(words)) < seconds * 240 - 100:
            words.append(self.random.choice(WORDS))
        return " ".join(words)

    async def ask(self, *, seconds: float = 5.0, model: str = "steady", conversation: str = "") -> tuple[Asked, Viewer]:
        """A question on the way, and a device that watches its conversation."""
        conversation = conversation or await self.api.open()
        viewer = self.watch(conversation)
        await viewer.wait_connected()
        return await self.api.send(self.write_question(seconds=seconds), conversation=conversation, model=model), viewer

    async def ask_scripted(self, *, seconds: float = 1.0, model: str = "steady") -> tuple[Asked, Viewer]:
        """The same, where calls and answer follow a script that the fault checks itself."""
        asked, viewer = await self.ask(seconds=seconds, model=model)
        self.scripted.add(asked.mark)
        return asked, viewer

    async def ask_many(self, count: int, *, seconds: float = 12.0) -> list[tuple[Asked, Viewer]]:
        """So many streams, each with some text already."""
        streams = [await self.ask(seconds=seconds) for _ in range(count)]
        for asked, viewer in streams:
            await viewer.wait_length(asked.reply, 60)
        return streams

    def watch(self, conversation: str, *, front: str = "") -> Viewer:
        viewer = self.api.watch(conversation, front=front)
        self.viewers.append(viewer)
        return viewer

    def watch_page(self, conversation: str) -> Viewer:
        """A device that shows HTML, as our own page does."""
        viewer = self.api.watch_page(conversation)
        self.viewers.append(viewer)
        return viewer


def read_command(process: psutil.Process) -> list[str]:
    try:
        return [] if process.status() == psutil.STATUS_ZOMBIE else process.cmdline()
    except psutil.NoSuchProcess:
        return []


def list_strays(home: Path, family: set[int]) -> list[str]:
    """Processes of this home that belong to nobody any more, and our own dead children that nobody has taken leave of."""
    strays = []
    for process in psutil.process_iter():
        if process.pid in family or process.pid == os.getpid():
            continue
        try:
            if process.environ().get("CHATBOX_HOME") == str(home) or str(home) in " ".join(process.cmdline()):
                strays.append(f"{process.pid} {' '.join(process.cmdline())[:120]}")
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return strays
