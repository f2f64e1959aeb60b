"""The programs of one machine: what is run, in which order, and how it is asked to end."""

import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path

from ops.engines import model, postgres, valkey
from ops.engines.identity import Identity, launch_command

WORKER_FLAGS = ("--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "INFO")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One installation on one machine, as its settings say. `address` is for people."""

    base: Path
    home: Path
    run: Path
    bind: str
    port: int
    address: str
    has_database: bool
    has_bus: bool
    has_model: bool
    reply_concurrency: int
    postgres_password: str = field(repr=False)

    def get_log(self, name: str) -> Path:
        return self.home / "log" / f"{name}.log"

    def get_pid_file(self, name: str) -> Path:
        return self.run / "pids" / name


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One supervised process. A lower `priority` starts earlier and ends later."""

    name: str
    title: str
    argv: tuple[str, ...]
    priority: int
    starts_alone: bool = False
    stop_signal: signal.Signals = signal.SIGTERM
    stop_timeout_s: float = 10.0


def list_programs(plan: Plan, *, identity: Identity = Identity.OURSELVES) -> list[Program]:
    """Return what this plan runs, engines first. `identity` is PostgreSQL's."""
    return [*_list_engines(plan, identity), *_list_services(plan)]


def _list_engines(plan: Plan, identity: Identity) -> list[Program]:
    engines = []
    if plan.has_database:
        argv = postgres.command(data=plan.home / "pg", run=plan.run, identity=identity, pid_file=plan.get_pid_file("postgres"))
        engines.append(
            Program(
                name="postgres",
                title="Database",
                argv=tuple(argv),
                priority=10,
                stop_signal=postgres.STOP_SIGNAL,
                stop_timeout_s=postgres.STOP_TIMEOUT_S,
            )
        )
    if plan.has_bus:
        argv = valkey.command(data=plan.home / "valkey", run=plan.run, pid_file=plan.get_pid_file("valkey"))
        engines.append(
            Program(
                name="valkey",
                title="Bus",
                argv=tuple(argv),
                priority=20,
                starts_alone=True,
                stop_timeout_s=valkey.STOP_TIMEOUT_S,
            )
        )
    if plan.has_model:
        argv = model.command(pid_file=plan.get_pid_file("model"))
        engines.append(
            Program(
                name="model",
                title="Model",
                argv=tuple(argv),
                priority=30,
                starts_alone=True,
                stop_timeout_s=model.STOP_TIMEOUT_S,
            )
        )
    return engines


def _list_services(plan: Plan) -> list[Program]:
    return [
        _build_worker(plan, "replies", "Reply worker", "-c", str(plan.reply_concurrency), "-Q", "replies"),
        _build_worker(plan, "jobs", "Job worker", "-c", "4", "-Q", "default,ops", "--with-beat"),
        Program(
            name="web",
            title="Web server",
            argv=_build_service(
                plan,
                "web",
                *("ops.door", "-v", "0", "--no-server-name", "-b", plan.bind, "-p", str(plan.port)),
                *("--websocket_timeout", "-1", "--ping-interval", "20", "--ping-timeout", "30"),
                "chatbox.asgi:application",
            ),
            priority=50,
        ),
    ]


def _build_worker(plan: Plan, name: str, title: str, *options: str) -> Program:
    """A worker ends its replies within 35 s: they are handed on or marked as interrupted."""
    module = ("celery", "-A", "chatbox", "worker", "-P", "threads")
    argv = _build_service(plan, name, *module, "-n", f"{name}@%h", *options, *WORKER_FLAGS)
    return Program(name=name, title=title, argv=argv, priority=40, stop_timeout_s=35.0)


def _build_service(plan: Plan, name: str, *arguments: str) -> tuple[str, ...]:
    return tuple(launch_command([sys.executable, "-m", *arguments], pid_file=plan.get_pid_file(name)))
