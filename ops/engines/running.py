"""The life of `manage.py up`: claim, start, prepare, serve, watch, stop. `run` reads top to bottom."""

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from ops.engines import claim, model, paths, postgres, process, readiness, supervisor, valkey
from ops.engines.errors import EngineFailed, EngineMissing, StopRequested
from ops.engines.identity import Identity, launch_command
from ops.engines.programs import Plan, Program, list_programs
from ops.engines.watch import watch

Say = Callable[[str], None]
Programs = Mapping[str, Program]
READY_TIMEOUT_S = 60.0
PREPARE_TIMEOUT_S = 600.0
SERVICES = ("web", "replies", "jobs")
# Doors first, then work, then what the work stands on.
STOP_ORDER = (("web",), ("replies", "jobs"), ("model", "valkey"), ("postgres",))


def run(plan: Plan, *, say: Say, stopping: threading.Event, is_check: bool = False) -> None:
    """Run Chatbox until `stopping` is set; a check ends when it is ready.

    Call it from the main thread. Nothing that it started is alive when it returns or
    raises. Raises EngineError with one sentence for the operator, StopRequested if
    `stopping` was set before it was ready.
    """
    began_at = time.monotonic()
    plan = check_engines(plan, say=say)
    with claim.hold(plan), supervised(plan, say=say) as programs:
        start_engines(plan, programs, say=say, stopping=stopping)
        lines = prepare(plan, say=say, stopping=stopping)
        start_services(plan, programs, say=say, stopping=stopping)
        say(f"✓ Chatbox is ready after {time.monotonic() - began_at:.1f} s: {plan.address}")
        for line in lines:
            say(f"  {line}")
        if not is_check:
            watch(plan, programs, say=say, stopping=stopping)


def check_engines(plan: Plan, *, say: Say) -> Plan:
    """Return the plan without a model where none can run. Raises EngineMissing for what we cannot do without."""
    if plan.has_database:
        postgres.find_binary("postgres")
    if plan.has_bus:
        valkey.find_binary()
    try:
        if plan.has_model:
            model.check_available()
    except EngineMissing as missing:
        say(f"! {missing}")
        return replace(plan, has_model=False)
    return plan


@contextmanager
def supervised(plan: Plan, *, say: Say) -> Iterator[Programs]:
    """Start the supervisor on a home that we have claimed; stop everything in order at the end."""
    if left := claim.end_leftovers(plan):
        say(f"! Ended what an earlier run left behind: {', '.join(left)}")
    claim.check_port(plan)
    paths.ensure_private(plan.run)
    (plan.run / model.ADDRESS_FILE).unlink(missing_ok=True)
    if plan.has_bus:
        valkey.prepare(data=plan.home / "valkey", run=plan.run)
    identity = Identity.OURSELVES
    if plan.has_database:
        identity = postgres.find_identity(data=plan.home / "pg", run=plan.run)
    programs = {program.name: program for program in list_programs(plan, identity=identity)}
    daemon = supervisor.start(plan, list(programs.values()))
    try:
        yield programs
    finally:
        stop_all(plan, programs, daemon=daemon, say=say)


def start_engines(plan: Plan, programs: Programs, *, say: Say, stopping: threading.Event) -> None:
    """Start the engines side by side and return when all are ready (1–2 s the first time)."""
    began_at = time.monotonic()
    if plan.has_database:
        log = plan.get_log("postgres")
        postgres.prepare(data=plan.home / "pg", run=plan.run, password=plan.postgres_password, log=log, takes_over=True)
        supervisor.start_program(plan.run, "postgres")
    waits = {"postgres": _wait_for_database, "valkey": _wait_for_bus, "model": _wait_for_model}
    with ThreadPoolExecutor() as pool:
        futures = {pool.submit(wait, plan, stopping): programs[name] for name, wait in waits.items() if name in programs}
        for future in as_completed(futures):
            future.result()
            say(f"✓ {futures[future].title} ready {time.monotonic() - began_at:.1f} s")


def prepare(plan: Plan, *, say: Say, stopping: threading.Event) -> list[str]:
    """Bring the database up to date in a process of its own; returns what its steps say."""
    began_at = time.monotonic()
    log = plan.get_log("prepare")
    argv = [sys.executable, str(plan.base / "manage.py"), "prepare", "--address", plan.address]
    # Not in a log: a step's words may be the link that makes the first administrator.
    with tempfile.TemporaryFile() as output, process.open_log(log) as errors:
        child = subprocess.Popen(
            launch_command(argv), stdin=subprocess.DEVNULL, stdout=output, stderr=errors, start_new_session=True
        )
        try:
            process.wait_until(
                lambda: child.poll() is not None,
                name="Preparing the database",
                timeout_s=PREPARE_TIMEOUT_S,
                log=log,
                is_alive=lambda: not _stops(stopping),
            )
        finally:
            process.end(child, with_signal=postgres.STOP_SIGNAL, timeout_s=5)
        if child.returncode:
            raise process.describe_failure("Preparing the database failed.", log=log)
        output.seek(0)
        lines = output.read().decode().splitlines()
    say(f"✓ Tables and files ready {time.monotonic() - began_at:.1f} s")
    return [line.partition("\t")[2] for line in lines if "\t" in line]


def start_services(plan: Plan, programs: Programs, *, say: Say, stopping: threading.Event) -> None:
    """Start web server and workers; returns when `/readyz` says 200 and all of them run."""
    began_at = time.monotonic()
    for name in SERVICES:
        supervisor.start_program(plan.run, name)

    def is_ready() -> bool:
        states = [state for state in supervisor.list_states(plan.run) if state.name in SERVICES]
        for state in states:
            if state.state in supervisor.CRASHED:
                title, log = programs[state.name].title, plan.get_log(state.name)
                raise process.describe_failure(f"{title} does not start.", log=log)
        return all(state.state == "RUNNING" for state in states) and readiness.ask(plan) is None

    try:
        process.wait_until(is_ready, name="Chatbox", timeout_s=READY_TIMEOUT_S, is_alive=lambda: not _stops(stopping))
    except EngineFailed as failure:
        if answer := readiness.ask(plan):
            raise process.describe_failure(f"{failure} {answer}.", log=failure.log or plan.get_log("web")) from failure
        raise
    say(f"✓ Web server and workers ready {time.monotonic() - began_at:.1f} s")


def stop_all(plan: Plan, programs: Programs, *, daemon: subprocess.Popen[bytes], say: Say) -> None:
    """Stop everything in order. What a dead supervisor left is ended, too."""
    say("Stopping …")
    try:
        for names in STOP_ORDER:
            _stop_together(plan, [programs[name] for name in names if name in programs])
    except OSError:
        say("! The supervisor does not answer; ending its programs directly")
    process.end(daemon, with_signal=supervisor.STOP_SIGNAL, timeout_s=claim.SUPERVISOR_STOP_S)
    claim.end_leftovers(plan)
    say("Stopped")


def _stop_together(plan: Plan, programs: list[Program]) -> None:
    for program in programs:
        supervisor.stop_program(plan.run, program.name)
    for program in programs:
        process.wait_until(
            partial(supervisor.has_ended, plan.run, program.name),
            name=program.title,
            timeout_s=program.stop_timeout_s + 5,  # the supervisor kills it before
        )


def _wait_for_database(plan: Plan, stopping: threading.Event) -> None:
    postgres.wait_ready(
        run=plan.run,
        password=plan.postgres_password,
        log=plan.get_log("postgres"),
        is_alive=lambda: _is_starting(plan, "postgres", stopping),
    )
    postgres.create_database(run=plan.run, password=plan.postgres_password)


def _wait_for_bus(plan: Plan, stopping: threading.Event) -> None:
    log = plan.get_log("valkey")
    valkey.wait_ready(run=plan.run, log=log, is_alive=lambda: _is_starting(plan, "valkey", stopping))


def _wait_for_model(plan: Plan, stopping: threading.Event) -> None:
    log = plan.get_log("model")
    model.wait_ready(run=plan.run, log=log, is_alive=lambda: _is_starting(plan, "model", stopping))


def _is_starting(plan: Plan, name: str, stopping: threading.Event) -> bool:
    return not _stops(stopping) and supervisor.get_state(plan.run, name).state not in supervisor.CRASHED


def _stops(stopping: threading.Event) -> bool:
    if stopping.is_set():
        raise StopRequested("Stopped before Chatbox was ready.")
    return False
