"""One `up` per home: the claim that a live one holds, and what a dead one left behind."""

import fcntl
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from ops.engines import paths, process
from ops.engines.errors import AlreadyRunning, EngineError
from ops.engines.programs import Plan
from ops.engines.supervisor import NAME as SUPERVISOR

# The supervisor ends its programs one after the other, each within its own time.
SUPERVISOR_STOP_S = 100.0
LEFTOVER_STOP_S = 15.0


@contextmanager
def hold(plan: Plan) -> Iterator[None]:
    """Claim this home. The kernel gives the claim back when we end, however that happens.

    Raises AlreadyRunning with the address of the one that holds it.
    """
    paths.claim_directory(plan.run)
    with (plan.run / "up.lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            address = file.read().strip() or "an address it has not printed yet"
            raise AlreadyRunning(f"Chatbox already runs for {plan.home}: {address}") from None
        file.truncate(0)
        file.write(plan.address)
        file.flush()
        yield


def check_port(plan: Plan) -> None:
    """Raises EngineError if another program listens where our web server will."""
    family = socket.AF_INET6 if ":" in plan.bind else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((plan.bind, plan.port))
        except OSError as error:
            raise EngineError(
                f"Port {plan.port} on {plan.bind} cannot be used ({error.strerror}): set PORT to another one."
            ) from error


def end_leftovers(plan: Plan) -> list[str]:
    """End what an `up` that was killed left running and return their names; usually nothing.

    The supervisor first: it ends the others in order, and would restart them.
    """
    directory = plan.get_pid_file(SUPERVISOR).parent
    files = sorted(directory.glob("*"), key=lambda file: file.name != SUPERVISOR) if directory.is_dir() else []
    ended = [file.name for file in files if _end_recorded(file)]
    for file in files:
        file.unlink(missing_ok=True)
    return ended


def _end_recorded(file: Path) -> bool:
    found = find_recorded(file)
    if found is None:
        return False
    timeout_s = SUPERVISOR_STOP_S if file.name == SUPERVISOR else LEFTOVER_STOP_S
    # SIGINT is PostgreSQL's fast shutdown; the others take it as the end, too.
    with_signal = signal.SIGINT if file.name == "postgres" else signal.SIGTERM
    process.end_stranger(found, with_signal=with_signal, timeout_s=timeout_s)
    return True


def find_recorded(file: Path) -> psutil.Process | None:
    """Return the live process that the launcher wrote into this pid file: `pid started_at`."""
    try:
        pid, started_at = file.read_text().split()
        return process.find_recorded(int(pid), started_at=float(started_at))
    except (FileNotFoundError, ValueError):
        return None
