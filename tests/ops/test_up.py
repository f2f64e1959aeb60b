"""`up`: starts, says, restarts, refuses, stops. On the stand-in product, with real engines."""

import http.client
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from ops.engines import claim, paths, process, programs, supervisor, watch
from ops.engines.programs import Plan, Program
from ops.engines.supervisor import ProgramState
from tests.ops import standin
from tests.ops.standin import StandIn


@contextmanager
def installed(name: str) -> Iterator[StandIn]:
    """A product in a directory of this name; nothing of it is alive at the end."""
    root = Path(tempfile.mkdtemp(prefix="chatbox-u-"))
    root.chmod(0o711)
    base = root / name
    standin.make_product(base)
    run = paths.run_directory(base / "var")
    product = StandIn(base=base, run=run, port=standin.find_free_port())
    try:
        yield product
    finally:
        for left in product.list_processes():
            left.kill()
        shutil.rmtree(run, ignore_errors=True)
        shutil.rmtree(root)


@pytest.fixture(scope="module")
def started() -> Iterator[tuple[StandIn, subprocess.Popen[bytes]]]:
    """One running `up` for the tests that leave it running, under a name that must be quoted."""
    with installed("it's 100 % #1 ;") as product:
        up = product.start_ready()
        yield product, up
        up.send_signal(signal.SIGINT)
        assert up.wait(90) == 0
        assert product.list_processes() == []


@pytest.fixture
def product() -> Iterator[StandIn]:
    with installed("product") as made:
        yield made


def get_pid(product: StandIn, name: str) -> int:
    return supervisor.get_state(product.run, name).pid


def ask(product: StandIn) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", product.port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


def test_up_serves_and_prints_one_address_and_the_link(started: tuple[StandIn, subprocess.Popen[bytes]]) -> None:
    product, _ = started
    said = product.output.read_text()
    assert ask(product) == 200
    assert said.count(f"http://127.0.0.1:{product.port}") == 1
    assert "http://127.0.0.1/the-link" in said
    assert {state.state for state in supervisor.list_states(product.run)} == {"RUNNING"}
    logs = (product.base / "var" / "log").glob("*")
    assert not any("the-link" in log.read_text() for log in logs)


def test_second_up_names_the_address_of_the_first(started: tuple[StandIn, subprocess.Popen[bytes]]) -> None:
    product, up = started
    before = product.output.read_text()
    second = product.start()
    assert second.wait(90) == 1
    assert f"already runs for {product.base / 'var'}: http://127.0.0.1:{product.port}" in product.output.read_text()
    product.output.write_text(before)
    assert up.poll() is None
    assert ask(product) == 200


@pytest.mark.parametrize(("name", "title"), [("web", "Web server"), ("postgres", "Database")])
def test_killed_program_is_restarted_and_the_operator_is_told(
    started: tuple[StandIn, subprocess.Popen[bytes]], name: str, title: str
) -> None:
    product, up = started
    before = get_pid(product, name)
    psutil.Process(before).kill()
    product.wait_for(f"✓ {title} is running again", by=up)
    assert get_pid(product, name) not in {0, before}
    process.wait_until(lambda: ask(product) == 200, name="/readyz", timeout_s=20)


def test_terminal_interrupt_does_not_reach_the_programs(started: tuple[StandIn, subprocess.Popen[bytes]]) -> None:
    product, up = started
    sessions = {os.getsid(state.pid) for state in supervisor.list_states(product.run)}
    assert os.getsid(up.pid) not in sessions


def test_killed_up_takes_everything_with_it_and_the_next_one_leaves_nothing(product: StandIn) -> None:
    up = product.start_ready()
    assert len(product.list_processes()) > 6
    up.kill()
    up.wait()
    process.wait_until(lambda: not product.list_processes(), name="the end of everything", timeout_s=60)
    assert product.start("--check").wait(90) == 0, product.output.read_text()
    assert product.list_processes() == []
    assert not list(product.run.glob("*.sock"))
    assert not list((product.run / "pids").iterdir())


def test_killed_supervisor_takes_everything_with_it_and_up_says_so(product: StandIn) -> None:
    up = product.start_ready()
    recorded = claim.find_recorded(product.run / "pids" / supervisor.NAME)
    assert recorded is not None
    recorded.kill()
    assert up.wait(90) == 1
    assert "The supervisor ended" in product.output.read_text()
    assert product.list_processes() == []


def test_check_of_an_unready_product_fails_with_its_answer(product: StandIn) -> None:
    (product.base / "chatbox" / "asgi.py").write_text("raise SystemExit('no such module: fortune')")
    assert product.start("--check").wait(90) == 1
    said = product.output.read_text()
    assert "Web server does not start" in said
    assert "no such module: fortune" in said
    assert product.list_processes() == []


def test_failed_preparation_is_named_with_its_log(product: StandIn) -> None:
    (product.base / "manage.py").write_text("raise SystemExit('migration 7 failed')")
    assert product.start("--check").wait(90) == 1
    assert "Preparing the database failed" in product.output.read_text()
    assert "migration 7 failed" in product.output.read_text()
    assert product.list_processes() == []


def test_port_of_another_program_is_named_before_anything_starts(product: StandIn) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", product.port))
        other.listen()
        assert product.start("--check").wait(90) == 1
    assert f"Port {product.port}" in product.output.read_text()
    assert not (product.base / "var" / "pg").exists()


def test_interrupt_while_starting_stops_what_was_started(product: StandIn) -> None:
    up = product.start()
    product.wait_for("Database ready", by=up)
    up.send_signal(signal.SIGINT)
    assert up.wait(90) == 1
    assert "Stopped before" in product.output.read_text()
    assert product.list_processes() == []


def test_every_change_of_a_program_has_one_line(tmp_path: Path) -> None:
    program = Program(name="web", title="Web server", argv=("true",), priority=1)
    plan = make_plan(tmp_path)

    def describe(before: tuple[str, int], after: tuple[str, int]) -> str:
        states = (ProgramState("web", *before), ProgramState("web", *after))
        return watch.describe_change(*states, program=program, plan=plan) or ""

    assert describe(("RUNNING", 1), ("RUNNING", 1)) == ""
    assert describe(("RUNNING", 1), ("RUNNING", 2)) == "✓ Web server is running again"
    assert describe(("RUNNING", 1), ("BACKOFF", 0)).startswith("! Web server ended (backoff)")
    assert describe(("BACKOFF", 0), ("STARTING", 2)) == ""
    assert "does not start any more" in describe(("BACKOFF", 0), ("FATAL", 0))
    assert "web.log" in describe(("BACKOFF", 0), ("FATAL", 0))


def test_engines_that_are_given_from_outside_are_not_started(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    assert [program.name for program in programs.list_programs(plan)] == ["replies", "jobs", "web"]


def make_plan(home: Path) -> Plan:
    return Plan(
        base=home,
        home=home,
        run=home / "run",
        bind="127.0.0.1",
        port=1,
        address="http://127.0.0.1:1",
        has_database=False,
        has_bus=False,
        has_model=False,
        reply_concurrency=1,
        postgres_password="",
    )
