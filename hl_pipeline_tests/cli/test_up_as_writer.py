"""`hl up` on its own server: who its processes are to Postgres, and that nothing was refused to them."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from hl_pipeline.cli.supervisor import free_port
from hl_pipeline.storage.embedded import DAGSTER_DATABASE, OWN_DATABASE, Server, attach
from hl_pipeline_tests.cli.conftest import hl_command, started
from hl_pipeline_tests.cli.test_supervisor import until
from hl_pipeline_tests.cli.test_up import processes_of

pytestmark = pytest.mark.timeout(900)


def ask(server: Server, database: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(server.dsn(database), application_name="the test") as connection:
        return connection.execute(statement).fetchall()


def variables(pid: int) -> dict[str, str]:
    """The environment of a process."""
    pairs = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)


def program(pid: int) -> str:
    return Path(Path(f"/proc/{pid}/cmdline").read_text().split("\0")[0]).name


@pytest.fixture
def up(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, home: Path, tmp_path: Path
) -> Iterator[tuple[Server, list[int]]]:
    """The running server, and the processes under `hl up`, after the first collection."""
    monkeypatch.delenv("HL_DATABASE_URL")
    output = tmp_path / "output"
    process = started(hl_command("up", "--port", str(free_port())), {"HL_HOME": str(home)}, output)
    try:
        until(lambda: "Ctrl-C stops everything" in output.read_text() or process.poll() is not None, 300)
        server = attach(home / "sandbox")
        assert server is not None, output.read_text()
        runs = "select status from runs where pipeline_name = 'collect' and status in ('SUCCESS', 'FAILURE')"
        until(lambda: bool(ask(server, DAGSTER_DATABASE, runs)), 280)
        assert ask(server, DAGSTER_DATABASE, runs)[0] == ("SUCCESS",)
        children = [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
        yield server, children
        process.terminate()
        assert process.wait(30) == 0
        until(lambda: not processes_of(home), 15)
    finally:
        process.kill()
        process.wait()


def test_its_processes_write_rows_and_nothing_else(up: tuple[Server, list[int]], home: Path) -> None:
    server, children = up
    until(lambda: bool(ask(server, OWN_DATABASE, "select 1 from hl.fetch where status = 'landed' limit 1")), 30)
    seen: set[tuple[object, ...]] = set()

    def both_were_seen() -> bool:
        """Dagster's connections come and go with what is asked of it."""
        seen.update(
            ask(
                server,
                OWN_DATABASE,
                "select distinct datname, usename from pg_stat_activity "
                "where backend_type = 'client backend' and application_name <> 'the test' and usename <> 'hl_admin'",
            )
        )
        return seen >= {(OWN_DATABASE, "hl_writer"), (DAGSTER_DATABASE, "hl_dagster")}

    until(both_were_seen, 120)
    assert seen == {(OWN_DATABASE, "hl_writer"), (DAGSTER_DATABASE, "hl_dagster")}
    told = [variables(pid) for pid in children if program(pid).startswith("python")]
    assert len(told) >= 4, "code server, daemon, web interface, stream"
    admin = (home / "sandbox" / "pg.password").read_text().strip()
    for environ in told:
        assert environ["HL_DATABASE_URL"].startswith("postgresql://hl_writer:")
        assert "//hl_dagster:" in environ["DAGSTER_STORAGE_URL"]
        assert admin not in json.dumps(environ)
    logs = "\n".join(path.read_text(errors="replace") for path in (home / "sandbox").rglob("*.log"))
    assert "permission denied" not in logs
    assert "must be owner" not in logs
    for name in ("pg.writer.password", "pg.dagster.password"):
        assert stat.S_IMODE((home / "sandbox" / name).stat().st_mode) == 0o600
