"""Of every kind that is dropped by row: the old goes, the young and what still lives stays, nothing else changes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import dagster as dg
import pytest
from psycopg import sql

from hl_pipeline.collect.retention import apply, survey
from hl_pipeline.defs.checks.retention import nothing_due_is_left
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.interval import to_datetime
from hl_pipeline.model.retention import DAY_MS, LATE_MS, Kind
from hl_pipeline.runtime import Pipeline
from hl_pipeline_tests.stored_world import MARKETS, SERIES

#: The setting that bounds a kind, as a user knows it; a bound of its own for each, so that none passes for another.
SETTINGS = {
    Kind.FETCHES: ("retention_fetches", "100d"),
    Kind.ALERTS: ("retention_alerts", "110d"),
    Kind.INCIDENTS: ("retention_alerts", "110d"),
    Kind.SILENCES: ("retention_alerts", "110d"),
    Kind.HEALTH_LOG: ("retention_logs", "120d"),
    Kind.CONFIDENCE: ("retention_logs", "120d"),
    Kind.DISAGREEMENTS: ("retention_logs", "120d"),
    Kind.DEAD_LETTERS: ("retention_logs", "120d"),
    Kind.EPISODES: ("retention_logs", "120d"),
}
FOREVER_ALL = dict.fromkeys(
    ("retention_contexts", "retention_fetches", "retention_alerts", "retention_logs", "retention_runs"), "forever"
)

FETCH = """
insert into hl.fetch (endpoint, request_type, coin, interval, window_start, window_end, asked_at, status)
values ('http://x', '{type}', 'BTC', '1h', {at} - interval '1 day', {at}, {at}, '{status}')
returning fetch_id, asked_at
"""
INCIDENT = """
with incident as (
    insert into hl.alert_incident (rule, group_key, opened_at, told_at, told_severity, resolved_at)
    values ('stale', '{group}', {opened}, {opened}, 'warning', {ended}) returning incident_id
),
notice as (
    insert into hl.alert_notice (incident_id, kind, severity, title, body, made_at)
    select incident_id, 'firing', 'warning', 't', 'b', {opened} from incident returning notice_id
)
insert into hl.alert_delivery (notice_id, channel, due_at, sent_at)
select notice_id, 'file-1', {due}, {sent} from notice
"""
ALERT = """
insert into hl.alert (fingerprint, severity, rule, summary, next_step, first_seen, last_seen, resolved_at)
values ('{name}', 'warning', 'stale', 's', 'n', {ancient}, {ancient}, {ended})
"""
TAKEN = """
update hl.alert_outbox set taken_at = written_at
from hl.alert
where alert_outbox.alert_id = alert.alert_id and fingerprint = '{name}'
"""
LETTER = """
with asked as (
    insert into hl.fetch (endpoint, request_type, coin, asked_at, status)
    values ('http://x', 'candleSnapshot', 'BTC', {at}, 'failed') returning fetch_id
)
insert into hl.dead_letter (
    series_id, kind, slots, waiting, lost, attempts, error, request, next_step, fetch_id, first_failed_at, died_at,
    resolved_at
)
select
    1, 'refused', '{{[2010-01-01,2010-01-02)}}', '{waiting}', '{lost}', 3, 'e', '{{}}', 'n', fetch_id, {at}, {at},
    {ended}
from asked
"""
SLOT = "{[2010-01-01,2010-01-02)}"
EPISODE = """
insert into hl.gap_episode (series_id, slots, waiting, reason, missing_since, found_at, closed_at, outcome)
values (1, '[2010-01-01,2010-01-02)', '{waiting}', 'failed', {ancient}, {ancient}, {ended}, {outcome})
"""
SCORE = """
insert into hl.confidence (series_id, scored_at, score, grade, weakest, components, reasons)
values ({series}, {at}, 0.5, 'fair', 'x', '{{}}', '{{}}')
"""
SILENCE = """
insert into hl.alert_silence (rule, since, until, made_by, reason) values ('stale', {ancient}, {until}, 'me', 'r')
"""
DISAGREEMENT = """
insert into hl.endpoint_disagreement (seen_at, primary_url, other_url, coin, interval, open_time, primary_candle)
values ({at}, 'http://a', 'http://b', 'BTC', '1m', {ancient}, '{{}}')
"""
LINE = "insert into hl.system_health_log (logged_at, status, score, report) values ({at}, 'healthy', 100, '{{}}')"
AT, ANCIENT, CUTOFF = "%(at)s::timestamptz", "'2010-01-01'::timestamptz", "%(cutoff)s::timestamptz"


def fetch(status: str = "landed", type_: str = "candleSnapshot") -> str:
    return FETCH.format(type=type_, status=status, at=AT)


def letter(at: str, waiting: str = "{}", lost: str = "{}", ended: str = AT) -> str:
    return LETTER.format(at=at, waiting=waiting, lost=lost, ended=ended)


def incident(group: str, ended: str, due: str, sent: str) -> str:
    return INCIDENT.format(group=f'{{"coin": "{group}"}}', opened=ANCIENT, ended=ended, due=due, sent=sent)


def referred(statement: str) -> str:
    """An old fetch that this statement refers to as ``asked``."""
    return f"with asked as ({fetch()}) {statement}"


@dataclass(frozen=True)
class Case:
    """What makes a row of a kind at an instant (``at``), and rows of it that stay however old they are."""

    row: tuple[str, ...]
    living: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()


PARTITIONS = """
select hl.ensure_partitions(parent, %(at)s::timestamptz - interval '4 days', %(at)s::timestamptz + interval '1 day')
from unnest(array['candle', 'market_context']) as parent
"""
CANDLE = "1.5, 2, 1, 1.5, 3, 4"
CASES = {
    Kind.FETCHES: Case(
        row=(
            f"with asked as ({fetch()}) insert into hl.rejected_row select fetch_id, 1, 'rule', 'v', 'p' from asked",
            fetch("failed"),
        ),
        living=(
            PARTITIONS,
            fetch("asked"),
            referred(
                f"insert into hl.candle select 1, asked_at - interval '2 hours', {CANDLE}, fetch_id, 'r', 'f'"
                " from asked"
            ),
            referred(
                f"insert into hl.candle select 1, asked_at - interval '3 days', {CANDLE}, fetch_id, 's', 'p' from asked"
            ),
            referred(
                f"insert into hl.candle_revision select 1, {ANCIENT}, fetch_id, asked_at, {CANDLE}, 0, 'r', 'f'"
                " from asked"
            ),
            f"with asked as ({fetch()}), other as ({fetch()}) insert into hl.candle_revision"
            f" select 2, {ANCIENT}, other.fetch_id, asked.asked_at, {CANDLE}, asked.fetch_id, 'r', 'f'"
            " from asked, other",
            f"with asked as ({fetch(type_='metaAndAssetCtxs')})"
            " insert into hl.market_context (market_id, seen_at, mark_price, day_notional_volume, fetch_id)"
            " select 1, asked_at, 1, 1, fetch_id from asked",
            f"with asked as ({fetch(type_='fundingHistory')})"
            " insert into hl.funding_rate select 1, asked_at, 0, 0, fetch_id from asked",
            referred(
                "insert into hl.fetch_failure (series_id, slots, kind, attempts, first_failed_at, last_failed_at,"
                f" error, request, fetch_id) select 1, '{SLOT}', 'refused', 1, asked_at, asked_at, 'e', '{{}}',"
                " fetch_id from asked"
            ),
            letter(AT, waiting=SLOT, ended="null"),
            f"with asked as ({fetch()}), other as ({fetch()}) insert into hl.vanished_row (series_id, open_time,"
            " first_absent_at, first_absent_fetch, last_absent_at, last_absent_fetch, seen_again_at)"
            f" select 1, {ANCIENT}, {AT}, asked.fetch_id, {AT}, other.fetch_id, {AT} from asked, other",
        ),
        tables=("fetch", "rejected_row"),
    ),
    Kind.ALERTS: Case(
        row=(ALERT.format(name="over", ancient=ANCIENT, ended=AT), TAKEN.format(name="over")),
        living=(
            ALERT.format(name="open", ancient=ANCIENT, ended="null"),
            TAKEN.format(name="open"),
            ALERT.format(name="nobody took it in yet", ancient=ANCIENT, ended=AT),
        ),
        tables=("alert", "alert_outbox"),
    ),
    Kind.INCIDENTS: Case(
        row=(
            incident("told", ended=AT, due=ANCIENT, sent=ANCIENT),
            incident("its channel is gone", ended=AT, due=AT, sent="null"),
        ),
        living=(
            incident("open", ended="null", due=ANCIENT, sent=ANCIENT),
            incident("open and never told", ended="null", due=ANCIENT, sent="null"),
            incident("its channel does not answer", ended=AT, due=CUTOFF, sent="null"),
        ),
        tables=("alert_incident", "alert_notice", "alert_delivery"),
    ),
    Kind.SILENCES: Case(
        row=(SILENCE.format(ancient=ANCIENT, until=AT),),
        living=(SILENCE.format(ancient=ANCIENT, until="'infinity'"),),
        tables=("alert_silence",),
    ),
    Kind.HEALTH_LOG: Case(row=(LINE.format(at=AT),), tables=("system_health_log",)),
    Kind.CONFIDENCE: Case(
        row=(SCORE.format(series=1, at=AT),),
        living=(
            SCORE.format(series=2, at=ANCIENT),  # the newest of its series
            SCORE.format(series=1, at=f"{CUTOFF} + interval '1 hour'"),
        ),
        tables=("confidence",),
    ),
    Kind.DISAGREEMENTS: Case(row=(DISAGREEMENT.format(at=AT, ancient=ANCIENT),), tables=("endpoint_disagreement",)),
    Kind.DEAD_LETTERS: Case(
        row=(letter(ANCIENT),),
        living=(letter(ANCIENT, waiting=SLOT, ended="null"), letter(ANCIENT, lost=SLOT)),
        tables=("dead_letter",),
    ),
    Kind.EPISODES: Case(
        row=tuple(
            EPISODE.format(waiting="{}", ancient=ANCIENT, ended=AT, outcome=f"'{outcome}'")
            for outcome in ("filled", "empty", "dropped")
        ),
        living=(
            EPISODE.format(waiting=SLOT, ancient=ANCIENT, ended="null", outcome="null"),
            EPISODE.format(waiting="{}", ancient=ANCIENT, ended=AT, outcome="'lost'"),
        ),
        tables=("gap_episode",),
    ),
}
#: The ledger and what else no bound reaches, all of it ancient.
FOR_EVER = (
    "insert into hl.endpoint (url, priority) values ('http://a', 0), ('http://b', 1)",
    "insert into hl.coverage values (1, '2010-01-01', '{[2010-01-01,2010-01-03)}', '{}', '{[2010-01-03,2010-01-04)}')",
    "insert into hl.gap values (1, '[2010-01-04,2010-01-05)', 'failed', 1, '2010-01-05', '2010-01-05', '2010-02-01')",
    "insert into hl.market_history values (1, '2010-01-01', 'max_leverage', '3', '5')",
    "insert into hl.export_file (relation, interval, month, file, rows, bytes, sha256, content, exported_at,"
    " dropped_at) values ('candle', '1m', '2010-01-01', 'x', 1, 1, 'x', 1, '2011-01-01', '2011-01-01')",
    "insert into hl.exported_slots values (1, '2010-01-01', '{[2010-01-01,2010-01-02)}')",
    "insert into hl.lease (series_id, month, lane, holder) values (1, '2010-01-01', 'live', 'run')",
)
#: Dropped elsewhere: by month, and by each run that adds to it.
BY_ITSELF = {"candle", "market_context", "performance_history"}
#: The record of what is known and why; grows with series and months, or when something happens that is not daily.
KEPT_FOR_EVER = (
    *("candle_revision", "coverage", "export_file", "exported_slots", "funding_rate", "lease", "market_history"),
    "vanished_row",
)
#: What is the case now, not what was: a row a thing, or rows that go when it is over.
OF_BOUNDED_SIZE = (
    *("alert_pulse", "alert_rule", "alert_rule_market", "endpoint", "failure_kind", "fetch_failure", "gap"),
    *("installation", "market", "rate_limit", "rate_limit_claim", "rate_limit_lane", "rate_limit_spend"),
    *("schema_repeatable", "schema_version", "series", "stream", "stream_process"),
)
#: Partitions show through their parents; how far fetches were judged is no record of anything.
TABLES = """
select relname from pg_class
where relnamespace = 'hl'::regnamespace and relkind in ('r', 'p') and not relispartition
    and relname <> 'retention_progress'
order by 1
"""


@pytest.fixture
def ancient(pipeline: Pipeline) -> Pipeline:
    """A market, and a ledger that speaks of 2010."""
    now = to_datetime(pipeline.clock.now_ms())
    with pipeline.database.connection() as connection:
        for statement in (MARKETS, SERIES):
            connection.execute(statement.encode(), {"now": now, "coins": ["BTC"]})
        for statement in FOR_EVER:
            connection.execute(statement.encode())
    return pipeline


def bounded(pipeline: Pipeline, *kinds: Kind) -> Pipeline:
    """The pipeline with the bounds of these kinds alone."""
    update = {**FOREVER_ALL, **dict(SETTINGS[kind] for kind in kinds)}
    return replace(pipeline, settings=pipeline.settings.model_copy(update=update))


def stored(pipeline: Pipeline) -> Counter[tuple[str, str]]:
    """Every row of every table of ours, as text."""
    found: Counter[tuple[str, str]] = Counter()
    with pipeline.database.connection() as connection:
        for (name,) in connection.execute(TABLES.encode()).fetchall():
            statement = sql.SQL("select thing::text from hl.{} as thing").format(sql.Identifier(name))
            found.update((name, text) for (text,) in connection.execute(statement))
    return found


def insert(pipeline: Pipeline, statements: tuple[str, ...], at_ms: int, cutoff_ms: int) -> Counter[tuple[str, str]]:
    """What these statements add at an instant."""
    before = stored(pipeline)
    with pipeline.database.connection() as connection:
        for statement in statements:
            connection.execute(statement.encode(), {"at": to_datetime(at_ms), "cutoff": to_datetime(cutoff_ms)})
    return stored(pipeline) - before


def judged(pipeline: Pipeline, instance: dg.DagsterInstance) -> dg.AssetCheckResult:
    """What ``nothing_due_is_left`` says."""
    found = nothing_due_is_left(dg.build_asset_check_context(instance=instance), pipeline)
    assert isinstance(found, dg.AssetCheckResult)
    return found


def test_every_kind_has_a_case() -> None:
    assert CASES.keys() == set(Kind)


def test_of_every_table_somebody_decided_what_becomes_of_its_rows(ancient: Pipeline) -> None:
    with ancient.database.connection() as connection:
        tables = [name for (name,) in connection.execute(TABLES.encode())]
    dropped = {table for case in CASES.values() for table in case.tables} | BY_ITSELF
    decided = [*sorted(dropped), *KEPT_FOR_EVER, *OF_BOUNDED_SIZE]
    assert sorted(decided) == tables, "a new table: who drops its rows, or why does it not grow?"


@pytest.mark.parametrize("kind", Kind)
def test_the_old_goes_and_the_young_and_the_living_stay(
    ancient: Pipeline, instance: dg.DagsterInstance, clock: ManualClock, tmp_path: Path, kind: Kind
) -> None:
    case, pipeline, now_ms = CASES[kind], bounded(ancient, kind), clock.now_ms()
    bounds, days = pipeline.settings.retention, int(SETTINGS[kind][1][:-1])
    cutoff_ms = now_ms - days * DAY_MS
    insert(pipeline, case.living, cutoff_ms - 400 * DAY_MS, cutoff_ms)
    old = insert(pipeline, case.row, cutoff_ms - 1, cutoff_ms)
    insert(pipeline, case.row, cutoff_ms, cutoff_ms)
    due = Counter({row: times for row, times in old.items() if row[0] in case.tables})
    assert {table for table, _ in due} == set(case.tables)
    named = sum(times for (table, _), times in due.items() if table == case.tables[0])
    before = stored(pipeline)

    seen = survey(pipeline.database, bounds, now_ms)
    assert seen.months == []
    assert [(line.kind, line.rows, line.oldest_ms) for line in seen.rows if line.rows] == [(kind, named, cutoff_ms - 1)]
    assert stored(pipeline) == before, "to look drops nothing"
    clock.advance(LATE_MS)
    left = judged(pipeline, instance)
    assert (left.passed, left.metadata["rows left"].value) == (False, named)

    assert apply(pipeline.database, bounds, tmp_path, now_ms).dropped == {kind: named}
    after = stored(pipeline)
    assert before - after == due
    assert not after - before, "what stays is as it was"
    assert survey(pipeline.database, bounds, now_ms).is_empty
    assert judged(pipeline, instance).passed
    assert apply(pipeline.database, bounds, tmp_path, now_ms).dropped == {}


def test_the_fetch_of_a_letter_that_goes_goes_too_though_it_was_judged_before(
    ancient: Pipeline, clock: ManualClock, tmp_path: Path
) -> None:
    pipeline, now_ms = bounded(ancient, Kind.FETCHES, Kind.DEAD_LETTERS), clock.now_ms()
    bounds = pipeline.settings.retention
    settled_ms = now_ms - 119 * DAY_MS
    letter_row = insert(pipeline, (letter(AT),), settled_ms, now_ms)
    younger = insert(pipeline, (fetch(),), now_ms, now_ms)
    assert apply(pipeline.database, bounds, tmp_path, now_ms).fetches_judged == 1, "its letter refers to it"
    assert survey(pipeline.database, bounds, now_ms).fetches_judged == 0, "and it is not judged every night"
    before = stored(pipeline)

    report = apply(pipeline.database, bounds, tmp_path, now_ms + 2 * DAY_MS)
    assert report.dropped == {Kind.DEAD_LETTERS: 1, Kind.FETCHES: 1}
    assert before - stored(pipeline) == letter_row
    assert not younger - stored(pipeline)
