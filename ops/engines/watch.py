"""What the operator is told while Chatbox runs: every change of a program, and nothing else."""

import threading
import time
from collections.abc import Callable, Mapping

from ops.engines import supervisor
from ops.engines.errors import EngineFailed
from ops.engines.programs import Plan, Program
from ops.engines.supervisor import ProgramState

WATCH_S = 1.0
# A program that the supervisor has given up is tried again this often.
REVIVE_S = 30.0


def watch(plan: Plan, programs: Mapping[str, Program], *, say: Callable[[str], None], stopping: threading.Event) -> None:
    """Say every change until `stopping` is set. Raises EngineFailed if the supervisor is gone."""
    before = _read_states(plan)
    revived_at = time.monotonic()
    while not stopping.wait(WATCH_S):
        after = _read_states(plan)
        for name, program in programs.items():
            if line := describe_change(before[name], after[name], program=program, plan=plan):
                say(line)
        if time.monotonic() - revived_at > REVIVE_S:
            revived_at = time.monotonic()
            _revive(plan, after)
        before = after


def describe_change(before: ProgramState, after: ProgramState, *, program: Program, plan: Plan) -> str | None:
    """Return one line about a program between two looks, None if there is nothing to say."""
    if (before.state, before.pid) == (after.state, after.pid):
        return None
    log = plan.get_log(program.name)
    if after.state == "RUNNING":
        return f"✓ {program.title} is running again"
    if after.state == "FATAL":
        return f"✗ {program.title} does not start any more, see {log}; it is tried again every {REVIVE_S:.0f} s"
    if before.state == "RUNNING":
        return f"! {program.title} ended ({after.state.lower()}), see {log}"
    return None


def _read_states(plan: Plan) -> dict[str, ProgramState]:
    try:
        return {item.name: item for item in supervisor.list_states(plan.run)}
    except OSError as error:
        log = plan.get_log(supervisor.NAME)
        raise EngineFailed(f"The supervisor ended and everything with it, see {log}", log=log) from error


def _revive(plan: Plan, states: Mapping[str, ProgramState]) -> None:
    for state in states.values():
        if state.state == "FATAL":
            supervisor.start_program(plan.run, state.name)
