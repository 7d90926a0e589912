"""docs/backups.md, done: a dump goes into a second database, and is proven there."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from hl_pipeline.cli.main import hl
from hl_pipeline.collect.retention import apply, restore
from hl_pipeline.storage.embedded import EmbeddedPostgres
from hl_pipeline.storage.engine import Database
from hl_pipeline.storage.migrations import claim_venue, migrate
from hl_pipeline.storage.postgres_home import find_binaries
from hl_pipeline_tests.exports import FEBRUARY, HOURS, LATER_MS, filled


def run(program: str, *arguments: str) -> None:
    """One of Postgres's programs, to its end."""
    command = find_binaries().command(program, *arguments)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def proof(monkeypatch: pytest.MonkeyPatch, database: Database, home: Path) -> dict[str, object]:
    """What ``hl verify`` says of a database."""
    for name, value in {
        "HL_VENUE": "sandbox", "HL_DATABASE_URL": database.libpq_url, "HL_HOME": str(home)
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    told = CliRunner().invoke(hl, ["verify", "--json"], catch_exceptions=False)
    assert told.exit_code == 0, told.output
    return dict(json.loads(told.output))


def test_a_dump_restored_into_a_second_database_is_proven_there(
    database: Database, empty_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(database)
    with database.connection() as connection:
        claim_venue(connection, "sandbox")
    apply(database, HOURS, tmp_path / "export", LATER_MS)
    before = proof(monkeypatch, database, tmp_path)
    dump = str(tmp_path / "hl.dump")
    run("pg_dump", "--format=custom", f"--file={dump}", database.libpq_url)

    migrate(empty_database_url)
    run("psql", empty_database_url, "-c", "drop schema hl cascade")
    run("pg_restore", "--single-transaction", "--exit-on-error", f"--dbname={empty_database_url}", dump)
    with Database(empty_database_url) as second:
        after = proof(monkeypatch, second, tmp_path)
        assert after["holds"]
        assert after["tables"] == before["tables"]
        back = restore(second, tmp_path / "export", FEBRUARY, LATER_MS, relation="candle")
        assert sum(back.values()) == 2 * 28 * 24, "its files belong to the copy, too"
        assert proof(monkeypatch, second, tmp_path)["holds"]


def test_a_base_backup_is_a_server_that_starts(tmp_path_factory: pytest.TempPathFactory) -> None:
    home = tmp_path_factory.mktemp("pg")
    with EmbeddedPostgres(home / "a") as server:
        migrate(server.dsn())
        with server.database() as database:
            filled(database, ["BTC"])
        run("pg_basebackup", f"--pgdata={home / 'base'}", "--checkpoint=fast", f"--dbname={server.dsn()}")
    run("pg_verifybackup", str(home / "base"))
    (home / "b").mkdir()
    for password in (home / "a").glob("pg.password*"):
        (home / "b" / password.name).write_bytes(password.read_bytes())
        (home / "b" / password.name).chmod(0o600)
    (home / "base").rename(home / "b" / "pg")
    with EmbeddedPostgres(home / "b") as server, server.database() as database, database.connection() as connection:
        assert connection.execute(b"select count(*) > 0 from hl.candles").fetchone() == (True,)
