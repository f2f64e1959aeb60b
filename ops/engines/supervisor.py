"""The supervisor of one machine: supervisord with our programs, spoken to through its socket.

It restarts what crashes, keeps and rotates the logs, and ends everything in order when it
is told to or when `manage.py up` disappears.
"""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault, ServerProxy

from supervisor.xmlrpc import Faults, SupervisorTransport

from ops.engines import process
from ops.engines.identity import launch_command
from ops.engines.programs import Plan, Program

SOCKET = "supervisor.sock"
NAME = "supervisord"
LOGS = "log"
STOP_SIGNAL = signal.SIGTERM
# A program that ends within a second is started again after 1, 2 and 3 s, then given up.
START_RETRIES = 3
LOG_SIZE = "10MB"
LOG_BACKUPS = 3
CRASHED = frozenset({"FATAL", "EXITED"})


@dataclass(frozen=True, slots=True)
class ProgramState:
    """`state` is supervisor's word: STOPPED, STARTING, RUNNING, BACKOFF, STOPPING, EXITED, FATAL. `pid` 0 is none."""

    name: str
    state: str
    pid: int


def render_configuration(plan: Plan, programs: Sequence[Program]) -> str:
    """Return supervisord's file. Paths may hold spaces, quotes, percent and comment signs."""
    sections = [
        f"[unix_http_server]\nfile={plan.run / SOCKET}\nchmod=0700",
        f"[supervisord]\nnodaemon=true\nsilent=true\nlogfile={_locate_log(plan, NAME)}\n"
        f"logfile_maxbytes={LOG_SIZE}\nlogfile_backups={LOG_BACKUPS}\npidfile={plan.run / 'supervisord.pid'}\n"
        f"childlogdir={plan.run}" + ("\nuser=root" if os.geteuid() == 0 else ""),
        "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
    ]
    return "\n\n".join([*sections, *(_render_program(plan, program) for program in programs)]) + "\n"


def start(plan: Plan, programs: Sequence[Program]) -> subprocess.Popen[bytes]:
    """Start supervisord in a session of its own and wait until it answers (about 0.4 s).

    Call it from the main thread: on Linux it ends, in order, with the thread that started it.
    """
    configuration = plan.run / "supervisord.conf"
    configuration.write_text(render_configuration(plan, programs))
    _link_logs(plan)
    plan.get_pid_file(NAME).parent.mkdir(exist_ok=True, mode=0o700)
    argv = [sys.executable, "-m", "supervisor.supervisord", "-c", str(configuration)]
    env = os.environ | {"CHATBOX_HOME": str(plan.home)}
    log = plan.get_log(NAME)
    daemon = process.spawn(launch_command(argv, pid_file=plan.get_pid_file(NAME)), log=log, env=env, cwd=plan.base)
    process.wait_until(
        lambda: is_answering(plan.run),
        name="The supervisor",
        timeout_s=30,
        log=log,
        is_alive=lambda: daemon.poll() is None,
    )
    return daemon


def is_answering(run: Path) -> bool:
    """Say whether a supervisor listens in this run directory."""
    try:
        with _connect(run) as supervisor:
            return bool(supervisor.getState())
    except (OSError, HTTPException):
        return False


def list_states(run: Path) -> list[ProgramState]:
    """Return the state of every program, by name. Raises OSError when nobody supervises."""
    with _connect(run) as supervisor:
        rows = supervisor.getAllProcessInfo()
    return [ProgramState(name=row["name"], state=row["statename"], pid=row["pid"]) for row in rows]


def get_state(run: Path, name: str) -> ProgramState:
    """Return the state of one program. Raises OSError when nobody supervises."""
    with _connect(run) as supervisor:
        row = supervisor.getProcessInfo(name)
    return ProgramState(name=name, state=row["statename"], pid=row["pid"])


def has_ended(run: Path, name: str) -> bool:
    """Say whether no process of this program is left. Raises OSError when nobody supervises."""
    return get_state(run, name).pid == 0


def start_program(run: Path, name: str) -> None:
    """Start a program and return at once; one that runs already goes on."""
    with _connect(run) as supervisor, _accepting(Faults.ALREADY_STARTED):
        supervisor.startProcess(name, False)


def stop_program(run: Path, name: str) -> None:
    """Ask a program to end and return at once; one that does not run stays so."""
    with _connect(run) as supervisor, _accepting(Faults.NOT_RUNNING):
        supervisor.stopProcess(name, False)


@contextmanager
def _connect(run: Path) -> Iterator[Any]:
    """Open supervisor's own namespace of remote calls (XML-RPC has no types)."""
    transport = SupervisorTransport(None, None, f"unix://{run / SOCKET}")
    with ServerProxy("http://127.0.0.1", transport=transport) as proxy:
        yield proxy.supervisor


@contextmanager
def _accepting(code: int) -> Iterator[None]:
    try:
        yield
    except Fault as fault:
        if fault.faultCode != code:
            raise


def _render_program(plan: Plan, program: Program) -> str:
    lines = [
        f"[program:{program.name}]",
        f"command={_quote(program.argv)}",
        f"priority={program.priority}",
        f"autostart={str(program.starts_alone).lower()}",
        f"autorestart=true\nstartsecs=1\nstartretries={START_RETRIES}",
        f"stopsignal={program.stop_signal.name.removeprefix('SIG')}",
        f"stopwaitsecs={program.stop_timeout_s:.0f}",
        # PostgreSQL's own children leave the group; it ends them itself.
        "stopasgroup=true\nkillasgroup=true",
        f"stdout_logfile={_locate_log(plan, program.name)}",
        f"redirect_stderr=true\nstdout_logfile_maxbytes={LOG_SIZE}\nstdout_logfile_backups={LOG_BACKUPS}",
    ]
    return "\n".join(lines)


def _quote(argv: Sequence[str]) -> str:
    """Quote for supervisor: a shell's words, doubled percent signs, nothing that begins a comment."""
    words = shlex.join(argv).replace("%", "%%")
    return words.replace(" #", " ''#").replace(" ;", " '';")


def _locate_log(plan: Plan, name: str) -> Path:
    """Name a log through the run directory's link: supervisor expands percent signs there twice."""
    return plan.run / LOGS / f"{name}.log"


def _link_logs(plan: Plan) -> None:
    logs = plan.get_log(NAME).parent
    logs.mkdir(mode=0o700, parents=True, exist_ok=True)
    (plan.run / LOGS).unlink(missing_ok=True)
    (plan.run / LOGS).symlink_to(logs)
