from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import psycopg
import pytest

from hl_pipeline.cli.supervisor import free_port
from hl_pipeline.sandbox.faults import Fault, FaultKind
from hl_pipeline.sandbox.server import RunningSandbox
from hl_pipeline.storage.engine import Database
from hl_pipeline_tests.cli.conftest import Run, hl_command, started
from hl_pipeline_tests.cli.test_supervisor import until


def answers(url: str) -> bool:
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def processes_of(home: Path) -> list[str]:
    """Command lines of live processes that belong to this home, by what is in their environment or arguments."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            mark = str(home).encode()
            if folder.name.isdigit() and mark in (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes():
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue  # gone meanwhile
    return [line for line in found if line.strip()]


def test_up_serves_the_ui_and_sigterm_ends_every_process(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, home: Path, tmp_path: Path
) -> None:
    monkeypatch.delenv("HL_DATABASE_URL")
    port, viewer_port, output = free_port(), free_port(), tmp_path / "output"
    arguments = ("--port", str(port), "--viewer-port", str(viewer_port))
    process = started(hl_command("up", *arguments), {"HL_HOME": str(home), "HL_LOG_FORMAT": "json"}, output)
    try:
        until(lambda: "Ctrl-C stops everything" in output.read_text() or process.poll() is not None, 90)
        assert f"http://127.0.0.1:{port}" in output.read_text()
        assert f"http://127.0.0.1:{viewer_port}, read-only" in output.read_text()
        assert answers(f"http://127.0.0.1:{port}/server_info")
        assert answers(f"http://127.0.0.1:{viewer_port}/server_info")
        assert not answers(f"http://127.0.0.1:{port}/graphql?query=%7Bversion%7D"), "the guard stands before it"
        assert len(processes_of(home)) >= 5
        other_port = {**os.environ, "HL_UI_PORT": str(free_port())}
        second = subprocess.run(hl_command("up"), capture_output=True, text=True, env=other_port)
        assert second.returncode == 2
        assert f"belongs to process {process.pid}" in second.stderr
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=15) == 0
        until(lambda: not processes_of(home), 15 - (time.monotonic() - began))
    finally:
        process.kill()
        process.wait()
    assert "Stopping" in output.read_text()
    for name in ("code-server", "daemon", "stream"):
        lines = (home / "sandbox" / "log" / f"{name}.log").read_text().splitlines()
        said = [json.loads(line) for line in lines if line.startswith("{")]
        assert said, f"the {name} logs as JSON"


def code_server_of(home: Path) -> int:
    """The process of a home's code server."""
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if (
                folder.name.isdigit()
                and b"\0api\0grpc\0" in (folder / "cmdline").read_bytes()
                and str(home).encode() in (folder / "environ").read_bytes()
            ):
                return int(folder.name)
    raise LookupError(f"no code server runs for {home}")


@pytest.mark.timeout(900)
def test_runs_that_fell_with_their_code_server_are_over_and_collection_goes_on(
    environ: dict[str, str], database: Database, exchange: RunningSandbox, home: Path, tmp_path: Path
) -> None:
    drip = exchange.faults.add(Fault(FaultKind.DRIP, request="candleSnapshot", amount=5_000))[0]
    output = tmp_path / "output"

    def statuses() -> dict[str, str]:
        try:
            with psycopg.connect(database.dagster_url.replace("+psycopg2", "")) as connection:
                found = connection.execute("select run_id, status from runs where pipeline_name = 'collect'")
                return {str(row[0]): str(row[1]) for row in found}
        except (psycopg.OperationalError, psycopg.errors.UndefinedTable):
            return {}  # not made yet

    process = started(hl_command("up", "--port", str(free_port())), {"HL_PERIOD_SECONDS": "60"}, output)
    try:
        until(lambda: "Ctrl-C stops everything" in output.read_text() or process.poll() is not None, 90)
        until(lambda: "STARTED" in statuses().values(), 300)
        (lost,) = (run for run, status in statuses().items() if status == "STARTED")
        os.kill(code_server_of(home), signal.SIGKILL)
        exchange.faults.remove(drip)
        until(lambda: statuses()[lost] == "FAILURE", 120)
        assert "The code server ended (killed by SIGKILL)" in output.read_text()
        until(lambda: "SUCCESS" in statuses().values(), 300)
    finally:
        process.terminate()
        assert process.wait(timeout=30) == 0, output.read_text()


def test_up_refuses_a_taken_port_before_it_starts_anything(run: Run, environ: dict[str, str], home: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        result = run("up", "--port", str(taken.getsockname()[1]))
    assert result.exit_code == 2
    assert "which the web interface needs" in result.stderr
    assert "--port or HL_UI_PORT" in result.stderr
    assert list(home.iterdir()) == []


def test_up_without_its_exchange_says_so_names_the_demo_and_starts_nothing(
    run: Run, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HL_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    result = run("up", "--port", str(free_port()))
    assert result.exit_code == 1
    assert "does not answer" in result.stderr
    assert "make demo" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_demo_whose_terminal_is_closed_leaves_no_process_however_many_signals_that_sends(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, home: Path, tmp_path: Path
) -> None:
    monkeypatch.delenv("HL_DATABASE_URL")
    output = tmp_path / "output"
    process = started(hl_command("demo", "--once"), {"HL_HOME": str(home)}, output)
    try:
        until(lambda: "Postgres runs at" in output.read_text() or process.poll() is not None, 60)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGHUP):
            process.send_signal(number)
        assert process.wait(timeout=30) in {128 + number for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)}
        until(lambda: not processes_of(home), 15)
    finally:
        process.kill()
        process.wait()
