"""The one health report behind every face: `hl health`, `hl status`, the guard's /health, the log row, the checks.

It is there whatever is down. Three parts measure at the same time, each in a thread of its own: our database, Dagster's
(another database, perhaps on another server), this machine. Who has not answered by the deadline is told as such.
"""

from __future__ import annotations

import importlib.metadata
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Generic, TypeVar

import psycopg

from hl_pipeline.collect.host import host_vitals
from hl_pipeline.health.report import Report, report
from hl_pipeline.model.clock import Clock, SystemClock
from hl_pipeline.model.failure import DatabaseUnavailable, InvalidSetting, PipelineError, SchemaMismatch
from hl_pipeline.model.redact import redact
from hl_pipeline.model.vitals import Blindness, DagsterVitals, HostVitals, Vitals
from hl_pipeline.runtime import collect_period_ms, open_database, settle_in_force
from hl_pipeline.settings import Settings
from hl_pipeline.storage import markets, migrations
from hl_pipeline.storage.dagster_records import dagster_records
from hl_pipeline.storage.engine import Connection, Database, looking
from hl_pipeline.storage.health import Meter, gather
from hl_pipeline.storage.sql import query

#: A report takes no longer, in seconds, whatever is down. `hl health` needs a second to start, and has three.
DEADLINE_S = 1.8
#: Where nobody waits for a probe's time-out.
PATIENT_S = 15.0
#: No measurement begins after this share of the time, and none takes longer than the rest.
_BEGIN_SHARE = 0.6
_NAME = "hl_pipeline health"
#: What stands where Dagster keeps no records.
NO_DAGSTER = "Dagster keeps no records in the database that the settings name (before the first `hl up` there are none)"
T = TypeVar("T")


def examine(
    settings: Settings,
    *,
    database: Database | None = None,
    clock: Clock | None = None,
    settle_s: float | None = None,
    deadline_s: float = DEADLINE_S,
) -> Report:
    """Measures everything and judges it, changing nothing, within ``deadline_s``.

    Raises nothing for what is down, slow, of another version or another venue's: that is what the report is about; its
    status is then unknown. ``database``, ``clock`` and ``settle_s`` are those of an open pipeline, instead of what the
    settings say.
    """
    started = time.monotonic()
    clock = clock or SystemClock(settings.clock_offset_ms)
    look = _Look(settings, database, clock, settle_s, deadline_s, started)
    ours, dagster, host = _Part(look.ours), _Part(look.dagster), _Part(look.host)
    vitals = _ours(ours, look)
    unmeasured = dict(vitals.unmeasured)
    records = _measured("dagster", dagster, look, unmeasured)
    absent = records is None and "dagster" not in unmeasured
    whole = replace(
        vitals,
        dagster=records,
        no_dagster=NO_DAGSTER if absent else None,
        host=_measured("host", host, look, unmeasured),
        unmeasured=unmeasured,
    )
    return report(whole, {"version": version(), "took_ms": round(1000 * (time.monotonic() - started))})


def version() -> str:
    """The installed version of hl_pipeline."""
    try:
        return importlib.metadata.version("hl-pipeline")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"  # run from a checkout that was never installed


class _Part(Generic[T]):
    """Work in a daemon thread: one that hangs keeps neither the report nor the process from ending."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._promise: Future[T] = Future()
        self._work = work
        threading.Thread(target=self._run, daemon=True).start()

    def outcome(self, until: float) -> T:
        """What came of it, if it comes before ``until``.

        Raises:
            TimeoutError: it did not; or whatever the work raised.
        """
        return self._promise.result(max(0.0, until - time.monotonic()))

    def _run(self) -> None:
        try:
            self._promise.set_result(self._work())
        except BaseException as error:  # noqa: BLE001 handed to whoever waits
            self._promise.set_exception(error)


class _Look:
    """The three parts of one report."""

    def __init__(
        self,
        settings: Settings,
        database: Database | None,
        clock: Clock,
        settle_s: float | None,
        deadline_s: float,
        started: float,
    ) -> None:
        self.settings = settings
        self.database = database
        self.clock = clock
        self.settle_s = settle_s
        self.deadline_s = deadline_s
        self.until = started + deadline_s
        self.begin_until = started + _BEGIN_SHARE * deadline_s
        self.statement_ms = round(1000 * (1 - _BEGIN_SHARE) * deadline_s)

    def ours(self) -> Vitals:
        """What our own database says, on one connection."""
        with looking(
            self._configured().libpq_url, application_name=_NAME, statement_timeout_ms=self.statement_ms
        ) as connection:
            applied = len(migrations.check_schema(connection).installed)
            migrations.check_venue(connection, self.settings.venue)
            now_ms, meter = self.clock.now_ms(), Meter(connection, self.begin_until)
            settle_s, period_s = self._pace(connection, meter, now_ms)
            expects = self.settings.stream
            found = gather(connection, now_ms, period_s, settle_s, expects_stream=expects, meter=meter)
            return replace(found, migrations=applied)

    def _pace(self, connection: Connection, meter: Meter, now_ms: int) -> tuple[float, float]:
        """Settle time and period in force, in seconds; those of the settings where that cannot be told."""
        settings, settle_s = self.settings, self.settle_s
        if settle_s is None:
            settle_s = meter.take(
                "settle", settings.settle_seconds, lambda: settle_in_force(settings, connection, now_ms).ms / 1000
            )
        period_s = meter.take(
            "period",
            float(settings.period_seconds),
            lambda: collect_period_ms(settings, markets.cadence(connection, now_ms)) / 1000,
        )
        return settle_s, period_s

    def dagster(self) -> DagsterVitals | None:
        """What Dagster's database says; null when it keeps nothing there."""
        configured = self._configured()
        try:
            with looking(
                configured.dagster_url, application_name=_NAME, statement_timeout_ms=self.statement_ms
            ) as connection:
                return dagster_records(connection)
        except DatabaseUnavailable:
            if self._dagster_database_exists(configured):
                raise
            return None

    def host(self) -> HostVitals:
        """This machine."""
        home = os.environ.get("DAGSTER_HOME")
        return host_vitals([self.settings.venue_home, *([Path(home)] if home else [])])

    def _configured(self) -> Database:
        return self.database or open_database(self.settings, application_name=_NAME)

    def _dagster_database_exists(self, configured: Database) -> bool:
        """Whether the default one, beside ours, was made; one that the settings name counts as made."""
        if self.settings.dagster_database_url is not None:
            return True
        with looking(configured.libpq_url, application_name=_NAME, statement_timeout_ms=self.statement_ms) as beside:
            return (
                beside.execute(query("database_exists"), {"name": f"{configured.name}_dagster"}).fetchone() is not None
            )


def _ours(part: _Part[Vitals], look: _Look) -> Vitals:
    """What our database said, or why it says nothing."""
    try:
        return part.outcome(look.until)
    except SchemaMismatch as error:
        blind = Blindness("schema_current", str(error))
    except InvalidSetting as error:
        blind = Blindness("venue_matches", str(error))
    except (TimeoutError, PipelineError, psycopg.Error) as error:
        blind = Blindness("database_answers", _said(error, look.deadline_s))
    return Vitals.unseen(look.clock.now_ms(), blind)


def _measured(group: str, part: _Part[T], look: _Look, unmeasured: dict[str, str]) -> T | None:
    """What a part said; null when it did not, with the reason under its group."""
    try:
        return part.outcome(look.until)
    except (TimeoutError, OSError, PipelineError, psycopg.Error) as error:
        unmeasured[group] = _said(error, look.deadline_s)
        return None


def _said(error: BaseException, deadline_s: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {deadline_s:g} s"
    return redact(str(error).strip().split("\n")[0]) or type(error).__name__
