"""A signal at the worst moments: every process of ours ends in time, and nothing of it is left.

Times are bounded by waiting no longer; what is asserted is how it ended and what it left.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from hl_pipeline.cli.demo.command import Unwinding
from hl_pipeline.cli.stopping import stopping
from hl_pipeline.cli.supervisor import Stop
from hl_pipeline.defs.launch import prepare_instance
from hl_pipeline.sandbox.faults import Fault, FaultKind
from hl_pipeline.sandbox.server import RunningSandbox
from hl_pipeline.storage import leases, series
from hl_pipeline.storage.engine import Database
from hl_pipeline_tests.cli.conftest import Run, hl_command
from hl_pipeline_tests.cli.test_supervisor import until
from hl_pipeline_tests.cli.test_up import processes_of

#: Promised: from the first signal to the end of the process.
STOP_SECONDS = 15.0
SLOW = Fault(FaultKind.LATENCY, amount=12_000)
LEFT = """
select
    (select count(*) from hl.rate_limit_spend where not settled),
    (select count(*) from hl.rate_limit_claim where waiting_since < 'infinity'),
    (select count(*) from hl.fetch where status = 'asked'),
    (
        select count(*) from pg_stat_activity
        where datname = current_database() and application_name = 'hl_pipeline'
    )
"""


@contextmanager
def hangup(handled: signal.Handlers) -> Iterator[None]:
    """Ignored, as `nohup` starts a process, or as a terminal does; the tests themselves may run under either."""
    kept = signal.signal(signal.SIGHUP, handled)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, kept)


def test_under_nohup_a_closed_terminal_stops_nothing() -> None:
    with hangup(signal.SIG_IGN):
        with stopping() as signals:
            signal.raise_signal(signal.SIGHUP)
        with Stop().listening() as stop:
            signal.raise_signal(signal.SIGHUP)
        with Unwinding():
            signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    assert not signals.halt.wanted
    assert not stop.wanted


def test_elsewhere_it_stops() -> None:
    with hangup(signal.SIG_DFL):
        with stopping() as signals:
            signal.raise_signal(signal.SIGHUP)
        with Stop().listening() as stop:
            signal.raise_signal(signal.SIGHUP)
    assert signals.exit_code == 128 + signal.SIGHUP
    assert stop.wanted


@contextmanager
def running(command: list[str], output: Path, **environ: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process as a shell starts it with ``&``: SIGINT ignored."""
    with output.open("wb") as out:
        process = subprocess.Popen(
            command,
            env={**os.environ, **environ},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def count(database: Database, statement: str) -> int:
    with database.connection() as connection:
        row = connection.execute(statement.encode()).fetchone()
    assert row is not None
    return int(row[0])


def unsettled(database: Database) -> int:
    return count(database, "select count(*) from hl.rate_limit_spend where not settled")


def nothing_is_left(database: Database, home: Path) -> None:
    """No reservation, no place in the queue, no open request, no session, no lease, no process; the ledger holds."""
    with database.connection() as connection:
        assert connection.execute(LEFT.encode()).fetchone() == (0, 0, 0, 0)
        assert leases.in_force(connection) == []
        assert series.violations(connection) == []
    assert processes_of(home) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_collect_stops_while_it_waits_for_weight(
    environ: dict[str, str], database: Database, home: Path, tmp_path: Path, number: signal.Signals
) -> None:
    with running(hl_command("collect"), tmp_path / "out", HL_WEIGHT_PER_MINUTE="110") as process:
        until(lambda: count(database, "select count(*) from hl.rate_limit_claim") > 0, 60)
        process.send_signal(number)
        assert process.wait(timeout=STOP_SECONDS) == 128 + number
    assert "hl: interrupted; what was answered is stored" in (tmp_path / "out").read_text()
    nothing_is_left(database, home)


def test_collect_stops_while_the_exchange_does_not_answer(
    environ: dict[str, str], exchange: RunningSandbox, database: Database, home: Path, tmp_path: Path
) -> None:
    exchange.faults.add(SLOW)
    with running(hl_command("collect"), tmp_path / "out") as process:
        until(lambda: unsettled(database) > 0, 60)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=STOP_SECONDS) == 128 + signal.SIGTERM
    nothing_is_left(database, home)


def test_collect_stops_while_it_pauses_after_failures(
    environ: dict[str, str], exchange: RunningSandbox, database: Database, home: Path, tmp_path: Path
) -> None:
    exchange.faults.add(Fault(FaultKind.RATE_LIMITED, retry_after="60"))
    with running(hl_command("collect"), tmp_path / "out") as process:
        until(lambda: len(exchange.log.entries()) > 0, 60)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=STOP_SECONDS) == 128 + signal.SIGTERM
    nothing_is_left(database, home)


def test_collect_stops_while_the_database_lets_it_wait(
    environ: dict[str, str], exchange: RunningSandbox, database: Database, home: Path, tmp_path: Path
) -> None:
    waits = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    with psycopg.connect(database.libpq_url) as locking:
        locking.execute("lock table hl.candle in exclusive mode")
        with running(hl_command("collect"), tmp_path / "out") as process:
            until(lambda: count(database, waits) > 0, 60)
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=STOP_SECONDS) == 128 + signal.SIGTERM
    with database.connection() as connection:
        assert series.violations(connection) == []
        assert connection.execute("select count(*) from hl.candle").fetchone() == (0,)
    assert processes_of(home) == []


def test_a_second_signal_ends_it_at_once(
    environ: dict[str, str], exchange: RunningSandbox, database: Database, home: Path, tmp_path: Path
) -> None:
    exchange.faults.add(SLOW)
    with running(hl_command("collect"), tmp_path / "out") as process:
        until(lambda: unsettled(database) > 0, 60)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        # which of two pending signals is heard first is the system's affair
        assert process.wait(timeout=STOP_SECONDS) in (128 + signal.SIGINT, 128 + signal.SIGTERM)
    assert "interrupted" not in (tmp_path / "out").read_text(), "it did not stop in order"
    assert unsettled(database) > 0, "what was sent expires within the minute"
    assert processes_of(home) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_stream_stops_in_order(
    run: Run, environ: dict[str, str], database: Database, home: Path, tmp_path: Path, number: signal.Signals
) -> None:
    assert run("collect").exit_code == 0
    with running(hl_command("stream"), tmp_path / "out", HL_INTERVALS="1m,1h") as process:
        until(lambda: count(database, "select count(*) from hl.stream where state = 'connected'") > 0, 60)
        process.send_signal(number)
        assert process.wait(timeout=STOP_SECONDS) == 0
    assert "Stopped." in (tmp_path / "out").read_text()
    assert count(database, "select count(*) from hl.stream_process where stopped_at is not null") == 1
    nothing_is_left(database, home)
    locks = "select count(*) from pg_locks where locktype = 'advisory'"
    assert (
        count(database, f"{locks} and database = (select oid from pg_database where datname = current_database())") == 0
    )


def test_a_run_of_dagster_stops_in_order(
    run: Run,
    environ: dict[str, str],
    exchange: RunningSandbox,
    database: Database,
    home: Path,
    tmp_path: Path,
    empty_database_url: str,
) -> None:
    assert run("collect", "--intervals", "1d").exit_code == 0, "the markets are known, and 1h is due"
    needed = prepare_instance(
        home / "dagster", Database(empty_database_url, dagster_url=empty_database_url).dagster_url
    )
    exchange.faults.add(Fault(FaultKind.LATENCY, request="candleSnapshot", amount=12_000))
    command = [sys.executable, "-m", "dagster", "job", "execute", "-m", "hl_pipeline.definitions", "-j", "collect"]
    with running(command, tmp_path / "out", **needed) as process:
        until(lambda: count(database, "select count(*) from hl.fetch where request_type = 'candleSnapshot'") > 0, 120)
        until(lambda: unsettled(database) > 0, 60)
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=STOP_SECONDS)
    assert "DagsterExecutionInterruptedError" in (tmp_path / "out").read_text()
    nothing_is_left(database, home)
