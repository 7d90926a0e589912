"""A server of the user's own, where the pipeline writes rows and somebody else changes the schema."""

from __future__ import annotations

import os
from pathlib import Path

import psycopg
import pytest

from hl_pipeline.cli.ground import Ground, as_environment
from hl_pipeline.model.failure import InvalidSetting
from hl_pipeline.settings import Settings
from hl_pipeline.storage.embedded import EmbeddedPostgres
from hl_pipeline.storage.migrations import MigrationReport, migrate
from hl_pipeline.storage.roles import Login, login_url
from hl_pipeline_tests.cli.conftest import Run

WRITER = "postgresql://hl_writer:canary-writer@127.0.0.1/hl"
MIGRATE = "postgresql://hl_migrate:canary-migrate@127.0.0.1/hl"


def test_the_schema_is_changed_by_whom_hl_migrate_url_names(
    run: Run, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    for name in [name for name in os.environ if name.startswith("HL_") and "TEST" not in name]:
        monkeypatch.delenv(name)
    with EmbeddedPostgres(home / "server") as server:
        migrate(server.dsn())
        with psycopg.connect(server.dsn()) as admin:
            admin.execute("delete from hl.schema_repeatable where name like '%candles_view%'")
        monkeypatch.setenv("HL_HOME", str(home))
        monkeypatch.setenv("HL_DATABASE_URL", login_url(server, home / "server", Login.WRITER))
        refused = run("migrate")
        assert refused.exit_code == 2
        assert "this user may not change the schema" in refused.stderr
        assert "HL_MIGRATE_URL" in refused.stderr
        monkeypatch.setenv("HL_MIGRATE_URL", login_url(server, home / "server", Login.MIGRATE))
        done = run("migrate")
        assert done.exit_code == 0, done.stderr
        assert "applied R__candles_view" in done.stdout
        assert "is up to date" in run("migrate").stdout
        monkeypatch.delenv("HL_MIGRATE_URL")
        assert "is up to date" in run("migrate").stdout, "with nothing to do, who writes is good enough"


def test_it_is_nobody_elses_business() -> None:
    settings = Settings.load({"HL_DATABASE_URL": WRITER, "HL_MIGRATE_URL": MIGRATE})
    ground = Ground(settings, None, None, MigrationReport((), 0))  # type: ignore[arg-type]  # it is not asked
    told = as_environment(ground.settings_of_children)
    assert told["HL_DATABASE_URL"] == WRITER
    assert "HL_MIGRATE_URL" not in told
    assert "canary-migrate" in settings.secrets


def test_alone_it_is_a_mistake_and_it_must_be_as_safe_as_the_other() -> None:
    with pytest.raises(InvalidSetting, match="HL_MIGRATE_URL: only goes with HL_DATABASE_URL"):
        Settings.load({"HL_MIGRATE_URL": MIGRATE})
    beyond = MIGRATE.replace("127.0.0.1", "db.example.com")
    with pytest.raises(InvalidSetting, match=r"HL_MIGRATE_URL: .*another machine") as refused:
        Settings.load({"HL_DATABASE_URL": WRITER, "HL_MIGRATE_URL": beyond})
    assert "canary-migrate" not in str(refused.value.args)
