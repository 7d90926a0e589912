"""Whatever is said in a run, a tick or a daemon's heartbeat: Dagster's tables hold no secret of it."""

# no postponed annotations here: Dagster refuses a context whose type is a string
import base64
import json
import logging
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import dagster as dg
import psycopg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.scheduler.instigation import TickData, TickStatus
from dagster._daemon.types import DaemonHeartbeat
from dagster_shared.error import SerializableErrorInfo
from psycopg import sql
from sqlalchemy.engine import make_url

from hl_pipeline.defs import storage
from hl_pipeline.defs.clean_storage import cleaned
from hl_pipeline.defs.launch import instance_file
from hl_pipeline.model import redact as process
from hl_pipeline.model.redact import hide

CANARY = "canary/in dagster's tables"
FORMS = (CANARY, quote(CANARY, safe=""), base64.b64encode(CANARY.encode()).decode(), json.dumps(CANARY)[1:-1])


@pytest.fixture(params=["postgres", "sqlite"])
def instance(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, empty_database_url: str
) -> Iterator[dg.DagsterInstance]:
    """The project's own instance, on the storage of its dagster.yaml."""
    monkeypatch.setattr(process, "_PROCESS", process._Process())
    for name in (storage.URL_VARIABLE, "HL_DATABASE_URL", "HL_DAGSTER_DATABASE_URL", "HL_VENUE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HL_HOME", str(tmp_path / "hl"))
    if request.param == "postgres":
        url = make_url(empty_database_url).set(drivername="postgresql+psycopg2")
        monkeypatch.setenv(storage.URL_VARIABLE, url.render_as_string(hide_password=False))
    hide(CANARY)
    (tmp_path / "dagster.yaml").write_bytes(instance_file().read_bytes())
    before = logging.getLogRecordFactory()
    with dg.DagsterInstance.from_config(str(tmp_path)) as made:
        yield made
    logging.setLogRecordFactory(before)


def everything(folder: Path, url: str) -> str:
    """Every row of the database as text, and every file under the folder."""
    found = [path.read_bytes().decode("utf-8", "replace") for path in folder.rglob("*") if path.is_file()]
    with psycopg.connect(url) as connection:
        tables = connection.execute("select tablename from pg_tables where schemaname = 'public'").fetchall()
        for (table,) in tables:
            with connection.cursor().copy(sql.SQL("copy {} to stdout").format(sql.Identifier(table))) as rows:
                found += [bytes(row).decode() for row in rows]
    return "\n".join(found)


@dg.asset
def talkative(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    context.log.warning("said: %s", " ".join(FORMS))
    return dg.MaterializeResult(metadata={"note": FORMS[0], "path": dg.MetadataValue.url(f"http://h/{FORMS[1]}")})


@dg.asset_check(asset=talkative)
def judged() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=False, description=FORMS[0], metadata={"found": {"nested": [FORMS[2]]}})


@dg.asset
def broken() -> None:
    try:
        raise ValueError(f"the cause: {FORMS[0]}")
    except ValueError as error:
        raise dg.Failure(f"{FORMS[1]}", metadata={"why": FORMS[0]}) from error


def test_no_event_of_a_run_holds_a_secret(
    instance: dg.DagsterInstance, tmp_path: Path, empty_database_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    result = dg.materialize([talkative, judged, broken], instance=instance, raise_on_error=False)
    assert not result.success
    kept = everything(tmp_path, empty_database_url)
    assert "said: *** *** ***" in kept, "the line itself is there"
    assert "the cause: ***" in kept
    out, err = capfd.readouterr()
    assert "said: *** *** ***" in err, "on the terminal, too"
    for form in FORMS:
        assert form not in kept
        assert form not in out + err
    check = instance.get_latest_materialization_event(talkative.key)
    assert check is not None, "the cleaned records can be read again"
    assert check.asset_materialization is not None
    assert check.asset_materialization.metadata["note"].value == "***"


def test_no_tick_no_backfill_and_no_heartbeat_holds_one(
    instance: dg.DagsterInstance, tmp_path: Path, empty_database_url: str
) -> None:
    error = SerializableErrorInfo(f"it was {CANARY}\n", [f"  File x, line 1\n    {CANARY}\n"], "ValueError", None, None)
    tick = instance.create_tick(TickData("origin", "sensor", InstigatorType.SENSOR, TickStatus.STARTED, 1.0))
    instance.update_tick(tick.with_status(TickStatus.FAILURE, error=error))
    instance.add_daemon_heartbeat(DaemonHeartbeat(1.0, "SENSOR", "here", [error]))
    backfill = PartitionBackfill("b1", BulkActionStatus.REQUESTED, False, {}, 1.0, partition_names=["p"])
    instance.add_backfill(backfill)
    instance.update_backfill(backfill.with_status(BulkActionStatus.FAILED).with_error(error))  # type: ignore[no-untyped-call]
    kept = everything(tmp_path, empty_database_url)
    if type(instance.event_log_storage).__name__.startswith("Postgres"):
        assert kept.count("it was ***") == 3
    assert CANARY not in kept
    (read,) = instance.get_ticks("origin", "sensor")
    assert read.error is not None
    assert read.error.message == "it was ***\n"


def test_a_record_without_secrets_is_passed_on_as_it_is() -> None:
    heartbeat = DaemonHeartbeat(1.0, "SENSOR", "here", [])
    assert cleaned(heartbeat) is heartbeat


@pytest.mark.parametrize("secret", ["dagster_event", "DagsterEvent", "p4ss", "ASSET_MATERIALIZATION_PLANNED-1"])
def test_whatever_is_hidden_a_record_can_be_read_again(instance: dg.DagsterInstance, secret: str) -> None:
    hide(secret)
    result = dg.materialize([talkative], instance=instance)
    assert [entry.dagster_event for entry in instance.all_logs(result.run_id) if entry.dagster_event is not None]
    assert instance.get_latest_materialization_event(talkative.key) is not None


def test_hooks_of_others_stay(instance: dg.DagsterInstance) -> None:
    assert type(sys.excepthook).__module__ != "hl_pipeline.notify.last_words"
    assert threading.excepthook.__module__ != "hl_pipeline.notify.last_words"
