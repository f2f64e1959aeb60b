"""Real engines in directories of their own: first start, killed start, stale locks, restarts."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest
import redis
from django.conf import settings

from ops.engines import identity, paths, postgres, process, secrets, valkey
from ops.engines.errors import EngineFailed, EngineMissing
from ops.engines.identity import Identity

PASSWORD = "a-password-for-tests"


@pytest.fixture
def home() -> Iterator[Path]:
    """A short path of our own: sockets have at most 107 bytes."""
    directory = Path(tempfile.mkdtemp(prefix="chatbox-e-"))
    directory.chmod(0o711)
    yield directory
    shutil.rmtree(directory)


@contextmanager
def running_postgres(home: Path, *, password: str = PASSWORD) -> Iterator[psycopg.Connection]:
    server = postgres.start(
        data=home / "pg",
        run=home / "run",
        password=password,
        log=home / "pg.log",
        settings=postgres.THROWAWAY,
        sync=False,
    )
    try:
        with postgres.connect(run=home / "run", password=password) as connection:
            yield connection
    finally:
        postgres.stop(server)


@contextmanager
def running_valkey(home: Path) -> Iterator[redis.Redis]:
    server = valkey.start(data=home / "valkey", run=home / "run", log=home / "valkey.log")
    try:
        with redis.Redis(unix_socket_path=str(home / "run" / valkey.SOCKET), decode_responses=True) as client:
            yield client
    finally:
        valkey.stop(server)


def count_processes_of(home: Path) -> int:
    """Engines name their directory in their arguments; PostgreSQL's children stand in it."""

    def belongs(found: psutil.Process) -> bool:
        try:
            return str(home) in " ".join(found.cmdline()) or Path(found.cwd()).is_relative_to(home)
        except (psutil.Error, OSError):
            return False

    return sum(belongs(found) for found in psutil.process_iter())


def test_database_keeps_its_data_over_a_restart_and_leaves_no_process(home: Path) -> None:
    with running_postgres(home) as connection:
        assert connection.info.server_version >= 180000
        assert postgres.create_database(run=home / "run", password=PASSWORD)
        connection.execute("CREATE TABLE kept AS SELECT 'Grüße' AS words")
    assert count_processes_of(home) == 0
    with running_postgres(home) as connection:
        assert not postgres.create_database(run=home / "run", password=PASSWORD)
        assert connection.execute("SELECT words, upper('ü') FROM kept").fetchone() == ("Grüße", "Ü")


def test_database_is_reached_by_socket_and_password_only(home: Path) -> None:
    with running_postgres(home) as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            postgres.connect(run=home / "run", password="wrong")
        assert stat.S_IMODE((home / "pg").stat().st_mode) == 0o700
        assert not stat.S_IMODE((home / "run").stat().st_mode) & 0o007


def test_changed_password_is_named(home: Path) -> None:
    with running_postgres(home):
        pass
    with pytest.raises(EngineFailed, match="POSTGRES_PASSWORD"), running_postgres(home, password="another"):
        pass


def test_first_start_killed_half_way_is_begun_anew(home: Path) -> None:
    script = (
        "import sys, pathlib; from ops.engines import postgres; home = pathlib.Path(sys.argv[1]);"
        "postgres.prepare(data=home / 'pg', run=home / 'run', password='x', log=home / 'pg.log', sync=False)"
    )
    starter = subprocess.Popen([sys.executable, "-c", script, str(home)])
    half_way = home / "pg.partial" / "data" / "PG_VERSION"
    process.wait_until(half_way.exists, name="initdb", timeout_s=20)
    starter.kill()
    starter.wait()
    process.wait_until(lambda: count_processes_of(home) == 0, name="the end of initdb", timeout_s=20)
    assert not (home / "pg").exists()
    with running_postgres(home) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert not (home / "pg.partial").exists()


def test_data_of_somebody_else_is_never_removed(home: Path) -> None:
    (home / "pg").mkdir()
    (home / "pg" / "precious.txt").write_text("mine")
    with pytest.raises(EngineFailed, match="not a PostgreSQL cluster"), running_postgres(home):
        pass
    assert (home / "pg" / "precious.txt").read_text() == "mine"


def test_lock_of_a_dead_server_whose_pid_was_reused_is_removed(home: Path) -> None:
    with running_postgres(home):
        lock = (home / "pg" / "postmaster.pid").read_text().splitlines()
    # This test's process has the pid now, as any other might after a restart of the machine.
    lock[0] = str(os.getppid())
    (home / "pg" / "postmaster.pid").write_text("\n".join(lock) + "\n")
    (home / "run" / f"{postgres.SOCKET}.lock").write_text("\n".join(lock) + "\n")
    with running_postgres(home) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_live_server_is_not_ended_by_a_second_start(home: Path) -> None:
    with running_postgres(home) as connection:
        with pytest.raises(EngineFailed, match="already runs"), running_postgres(home):
            pass
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_database_ends_with_a_killed_starter(home: Path) -> None:
    script = (
        "import sys, pathlib; from ops.engines import postgres; home = pathlib.Path(sys.argv[1]);"
        "postgres.start(data=home / 'pg', run=home / 'run', password='x', log=home / 'pg.log', sync=False).wait()"
    )
    starter = subprocess.Popen([sys.executable, "-c", script, str(home)])
    process.wait_until(lambda: (home / "run" / postgres.SOCKET).exists(), name="PostgreSQL", timeout_s=20)
    starter.kill()
    starter.wait()
    process.wait_until(lambda: count_processes_of(home) == 0, name="the end of PostgreSQL", timeout_s=20)


def test_directory_with_a_space_and_quotes_works(home: Path) -> None:
    odd = home / 'it\'s "my" 100 % #1'
    odd.mkdir(mode=0o711)
    with running_postgres(odd) as connection, running_valkey(odd) as client:
        assert connection.execute("SELECT 1").fetchone() == (1,)
        assert client.ping()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_root_runs_the_database_where_nobody_cannot_reach_it(home: Path) -> None:
    home.chmod(0o700)
    assert postgres.find_identity(data=home / "pg", run=home / "run") is Identity.NAMESPACE
    with running_postgres(home) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    home.chmod(0o711)
    assert postgres.find_identity(data=home / "pg", run=home / "run") is Identity.NOBODY
    with running_postgres(home) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_bus_keeps_its_data_over_a_restart(home: Path) -> None:
    with running_valkey(home) as client:
        client.set("kept", "yes")
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    assert count_processes_of(home) == 0
    with running_valkey(home) as client:
        assert client.get("kept") == "yes"


def test_bus_survives_a_kill_and_a_command_cut_off_in_its_file(home: Path) -> None:
    server = valkey.start(data=home / "valkey", run=home / "run", log=home / "valkey.log")
    with redis.Redis(unix_socket_path=str(home / "run" / valkey.SOCKET)) as client:
        client.set("kept", "yes")
        client.execute_command("WAITAOF", 1, 0, 5000)
    server.kill()
    server.wait()
    (file,) = (home / "valkey" / "appendonlydir").glob("*.incr.aof")
    with file.open("ab") as log:
        log.write(b"*3\r\n$3\r\nSET\r\n$4\r\ncu")
    with running_valkey(home) as client:
        assert client.get("kept") == "yes"


def test_damaged_bus_file_is_named(home: Path) -> None:
    with running_valkey(home) as client:
        client.set("kept", "yes")
    (file,) = (home / "valkey" / "appendonlydir").glob("*.incr.aof")
    file.write_bytes(b"nonsense\r\n" + file.read_bytes())
    with pytest.raises(EngineFailed, match=r"(?s)Valkey ended while starting.*Bad file format"), running_valkey(home):
        pass


def test_engines_do_not_see_our_secrets(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "visible")
    server = valkey.start(data=home / "valkey", run=home / "run", log=home / "valkey.log")
    try:
        assert "SECRET_KEY" not in psutil.Process(server.pid).environ()
    finally:
        valkey.stop(server)


@pytest.mark.parametrize(
    ("find", "variable"),
    [(lambda: postgres.find_binary("postgres"), "DATABASE_URL"), (valkey.find_binary, "REDIS_URL")],
)
def test_missing_engine_names_the_variable_to_set(
    find: Callable[[], Path], variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(EngineMissing, match=variable):
        find()


def test_run_directory_is_the_one_of_settings() -> None:
    assert paths.run_directory(settings.CHATBOX_HOME) == settings.RUN_DIR


@pytest.mark.parametrize("home", ["/srv/chatbox", "/srv/my chatbox", "/srv/Ünicode", "/srv/" + "x" * 71, "/srv/" + "x" * 72])
def test_run_directory_agrees_with_settings_for_any_home(home: str) -> None:
    script = "from chatbox import settings; print(settings.RUN_DIR)"
    environment = os.environ | {"CHATBOX_HOME": home}
    answer = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(answer.stdout.strip()) == paths.run_directory(Path(home))
    assert len(answer.stdout.strip()) <= paths.LONGEST_RUN_PATH


def test_run_directory_that_somebody_else_prepared_is_refused(home: Path) -> None:
    (home / "real").mkdir()
    (home / "run").symlink_to(home / "real")
    with pytest.raises(EngineFailed, match="belongs to another user"):
        paths.ensure_private(home / "run")


def test_secrets_are_made_once_and_for_us_alone(home: Path) -> None:
    (home / "secrets.env").write_text("# ours\nSECRET_KEY=chosen-by-hand")
    secrets.ensure(home)
    first = secrets.read(home)
    secrets.ensure(home)
    assert secrets.read(home) == first
    assert first["SECRET_KEY"] == "chosen-by-hand"
    assert set(first) == {"SECRET_KEY", "JWT_SECRET", "ENCRYPTION_KEYS", "POSTGRES_PASSWORD", "LOCAL_MODEL_KEY"}
    assert stat.S_IMODE((home / "secrets.env").stat().st_mode) == 0o600


def test_pid_of_another_process_is_not_ours() -> None:
    ourselves = psutil.Process(os.getppid())
    assert process.find_recorded(ourselves.pid, started_at=ourselves.create_time()) == ourselves
    assert process.find_recorded(ourselves.pid, started_at=ourselves.create_time() - 3600) is None


def test_death_signal_is_the_one_that_stops_in_order(home: Path) -> None:
    command = identity.launch_command(["/bin/true"], death_signal=signal.SIGINT)
    assert f"--signal={int(signal.SIGINT)}" in command
    assert postgres.STOP_SIGNAL is signal.SIGINT


def test_database_log_holds_no_words_of_a_statement(home: Path) -> None:
    with running_postgres(home) as connection:
        connection.execute("CREATE TABLE said (words text PRIMARY KEY)")
        connection.execute("INSERT INTO said VALUES ('my private words')")
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute("INSERT INTO said VALUES ('my private words')")
        with pytest.raises(psycopg.errors.UndefinedTable):
            connection.execute("SELECT 'my private words' FROM nowhere")
        connection.execute("SELECT pg_sleep(1.1), 'my private words'")
    log = (home / "pg.log").read_text()
    assert "duplicate key" in log
    assert 'relation "nowhere" does not exist' in log
    assert "private" not in log
    assert "duration" not in log


def test_database_log_is_for_its_owner_alone(home: Path) -> None:
    before = os.umask(0o022)
    try:
        process.spawn(["/bin/true"], log=home / "pg.log").wait()
    finally:
        os.umask(before)
    assert stat.S_IMODE((home / "pg.log").stat().st_mode) == 0o600


def test_bare_program_keeps_only_what_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "hidden")
    monkeypatch.setenv("LOCAL_MODEL_KEY", "its own")
    command = identity.launch_command(["/usr/bin/env"], is_bare=True, kept=("LOCAL_MODEL_KEY", "NOT_SET"))
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "LOCAL_MODEL_KEY=its own" in said
    assert "SECRET_KEY" not in said
    assert "NOT_SET" not in said
