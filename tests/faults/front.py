"""The front proxy is reloaded and restarted. A real nginx, with as much configuration as HTTP and WebSockets need."""

import asyncio
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.faults.api import Api, Asked
from tests.faults.catalog import fault
from tests.faults.promises import Skipped, promise, until
from tests.faults.rig import Rig
from tests.faults.viewer import Viewer
from tests.faults.workers import RECONNECT_S, have_reconnected
from tests.journeys.product import find_free_port

OUTAGE_S = 2.0
PROBE_S = 0.05
STOP_S = 10
CONFIGURATION = """
daemon off;
pid {home}/pid;
error_log {home}/error.log warn;
worker_processes 1;
worker_shutdown_timeout 1s;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    map $http_upgrade $connection_upgrade {{ default upgrade; "" ""; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{target};
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_buffering off;
            proxy_read_timeout 1h;
        }}
    }}
}}
"""


class Nginx:
    """In the foreground, with all its files in `home`. The workers of a reload close what is open after a second."""

    def __init__(self, home: Path, *, target: int) -> None:
        home.mkdir(exist_ok=True)
        self.port = find_free_port()
        self._configuration = home / "nginx.conf"
        self._configuration.write_text(CONFIGURATION.format(home=home, port=self.port, target=target))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        argv = ["nginx", "-c", str(self._configuration), "-e", "stderr"]
        self._process = subprocess.Popen(argv, stderr=subprocess.DEVNULL)

    def reload(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    async def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            await asyncio.to_thread(self._process.wait, STOP_S)
            self._process = None


class Probe:
    """Somebody who asks all the time. `outage_s`: the longest time without an answer; `failures`: requests that failed."""

    def __init__(self, api: Api, address: str) -> None:
        self.failures = 0
        self.outage_s = 0.0
        self._api = api
        self._address = address

    async def ask_forever(self) -> None:
        answered_at = time.monotonic()
        while True:
            is_well = await self._api.get(f"{self._address}livez") == 200
            now = time.monotonic()
            self.outage_s = max(self.outage_s, now - answered_at)
            self.failures += not is_well
            answered_at = now if is_well else answered_at
            await asyncio.sleep(PROBE_S)


@asynccontextmanager
async def running_nginx(rig: Rig) -> AsyncIterator[Nginx]:
    if shutil.which("nginx") is None:
        raise Skipped("nginx is not installed")
    nginx = Nginx(rig.home / "nginx", target=rig.product.port)
    nginx.start()
    try:
        await wait_answers(rig, nginx)
        yield nginx
    finally:
        await nginx.stop()


async def wait_answers(rig: Rig, nginx: Nginx) -> None:
    deadline = time.monotonic() + STOP_S
    while await rig.api.get(f"{nginx.address}livez") != 200:
        promise(time.monotonic() < deadline, "nginx does not answer")
        await asyncio.sleep(PROBE_S)


@asynccontextmanager
async def probing(rig: Rig, nginx: Nginx) -> AsyncIterator[Probe]:
    probe = Probe(rig.api, nginx.address)
    task = asyncio.create_task(probe.ask_forever())
    try:
        yield probe
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@fault("F11", "the front proxy is reloaded, then restarted, with 3 streams")
async def restart_front(rig: Rig) -> str:
    async with running_nginx(rig) as nginx:
        streams = [await ask_through(rig, nginx) for _ in range(3)]
        async with probing(rig, nginx) as probe:
            reloaded_s = await reload(nginx, streams)
            promise(not probe.failures, f"{probe.failures} requests failed during the reload")
            restarted_s = await restart(nginx, streams)
            await asyncio.sleep(1)
        promise(probe.outage_s <= OUTAGE_S, f"no answer for {probe.outage_s:.1f} s")
        states = [await viewer.wait_end(asked.reply) for asked, viewer in streams]
    promise(states == ["done"] * len(states), f"replies are {states}")
    back = f"devices back {reloaded_s:.1f} s after the reload and {restarted_s:.1f} s after the restart"
    return f"{back}, {probe.failures} requests failed within {probe.outage_s:.1f} s, 3 done"


async def ask_through(rig: Rig, nginx: Nginx) -> tuple[Asked, Viewer]:
    conversation = await rig.api.open()
    viewer = rig.watch(conversation, front=nginx.address)
    await viewer.wait_connected()
    asked = await rig.api.send(rig.write_question(seconds=18), conversation=conversation)
    await viewer.wait_length(asked.reply, 60)
    return asked, viewer


async def reload(nginx: Nginx, streams: list[tuple[Asked, Viewer]]) -> float:
    """The old worker goes, and the sockets that it carried with it."""
    before = [viewer.connections for _, viewer in streams]
    nginx.reload()
    return await expect_back(streams, before)


async def restart(nginx: Nginx, streams: list[tuple[Asked, Viewer]]) -> float:
    before = [viewer.connections for _, viewer in streams]
    await nginx.stop()
    nginx.start()
    return await expect_back(streams, before)


async def expect_back(streams: list[tuple[Asked, Viewer]], before: list[int]) -> float:
    back_s = await until(lambda: have_reconnected(streams, before), 2 * RECONNECT_S, "sockets again")
    promise(back_s <= RECONNECT_S, f"devices are back after {back_s:.1f} s")
    return back_s
