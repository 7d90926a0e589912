"""Alerts under load: five hundred markets in the tables, sinks that stay down, senders killed again and again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter

import pytest

from hl_pipeline.collect.alerting import evaluate, tell
from hl_pipeline.model.alert import Alert, Severity
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.interval import to_datetime
from hl_pipeline.notify.alerts import failed_check, market_stale
from hl_pipeline.notify.channels import open_channels
from hl_pipeline.storage import alert_delivery
from hl_pipeline.storage.alerts import raise_alert
from hl_pipeline.storage.candles import Partitions
from hl_pipeline.storage.engine import Database
from hl_pipeline.storage.health import gather
from hl_pipeline_tests.collect.test_alerting import SENDER, Ear, channel
from hl_pipeline_tests.notify.receiver import Receiver, receiving

NOW = 1_768_046_420_000
SECOND, MINUTE, HOUR = 1_000, 60_000, 3_600_000
MARKETS = 500
#: Markets with a 1m series whose newest candle is of the given instant, and a request a minute ago.
WORLD = (
    b"""
    insert into hl.market (coin, kind, dex, sz_decimals, tracked, tracked_by, first_seen, last_seen)
    select 'M' || number, 'perp', '', 2, true, 'list', %(now)s, %(now)s from generate_series(1, %(markets)s) as number
    """,
    b"""
    insert into hl.series (market_id, interval, step, tracked_from, known_until)
    select market_id, '1m', interval '1 minute', %(now)s::timestamptz - interval '1 hour', %(now)s from hl.market
    """,
    b"""
    insert into hl.fetch (endpoint, request_type, asked_at, status, latency_ms)
    select 'http://e', 'candleSnapshot', %(now)s::timestamptz - interval '1 minute', 'landed', 5
    from generate_series(1, 20)
    """,
)
LANDED = b"""
    insert into hl.candle (
        series_id, open_time, open, high, low, close, volume, trades, source, finality, fetch_id
    )
    select
        series_id, date_trunc('minute', %(at)s::timestamptz), 1, 1, 1, 1, 1, 1, 'r', 'f',
        (select min(fetch_id) from hl.fetch)
    from hl.series
    on conflict do nothing
"""


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def ear() -> Ear:
    return Ear()


def judge(database: Database, clock: ManualClock) -> None:
    with database.connection() as connection:
        evaluate(connection, gather(connection, clock.now_ms(), 60.0))


def asked_and_landed(database: Database, clock: ManualClock, *, landed: bool) -> None:
    """Requests are made; what they bring is there or is not."""
    with database.connection() as connection:
        connection.execute(b"update hl.fetch set asked_at = %(at)s", {"at": to_datetime(clock.now_ms() - MINUTE)})
        if landed:
            connection.execute(LANDED, {"at": to_datetime(clock.now_ms() - 2 * MINUTE)})


def lives(database: Database, clock: ManualClock, ear: Ear, minutes: int, *, landed: bool, step: int = 1) -> None:
    for _ in range(minutes // step):
        clock.advance(step * MINUTE)
        asked_and_landed(database, clock, landed=landed)
        judge(database, clock)
        tell(database, [channel(ear)], clock)


def test_five_hundred_markets_whose_candles_stop_are_one_notice_repeated_and_resolved_once(
    database: Database, clock: ManualClock, ear: Ear
) -> None:
    Partitions(database, "candle").ensure(NOW - HOUR, NOW + 24 * HOUR)
    with database.connection() as connection:
        for name in ("coverage", "confidence"):
            alert_delivery.change_rule(connection, name, enabled=False)  # of late markets alone is spoken here
        for statement in WORLD:
            connection.execute(statement, {"now": to_datetime(NOW), "markets": MARKETS})
    lives(database, clock, ear, 3, landed=True)
    assert ear.heard == []
    lives(database, clock, ear, 10, landed=False)
    assert [notice.title for notice in ear.heard] == [f"[WARNING] hl_pipeline: stale, {MARKETS} alerts"]
    assert ear.heard[0].body.count("- M") == 10
    assert f"and {MARKETS - 10} more" in ear.heard[0].body
    lives(database, clock, ear, 9 * 60, landed=False, step=30)
    assert ear.kinds == ["firing", "repeat", "repeat"]
    lives(database, clock, ear, 2 * 60, landed=True, step=30)
    assert ear.kinds == ["firing", "repeat", "repeat", "resolved"]
    with database.connection() as connection:
        assert alert_delivery.incidents(connection, clock.now_ms(), examples=1) == []


def late(severity: Severity) -> list[Alert]:
    return [market_stale(f"M{number}", "1m", 400.0, 190.0, severity) for number in range(MARKETS)]


def found(database: Database, clock: ManualClock, alerts: list[Alert]) -> None:
    with database.connection() as connection:
        alert_delivery.synchronise(connection, ["stale"], alerts, clock.now_ms())


def test_what_a_webhook_missed_comes_in_the_order_in_which_it_happened(database: Database, clock: ManualClock) -> None:
    with receiving() as sink:
        sink.status = 503
        channels = open_channels([f"info=json://{sink.address}/hook"])
        for severity in (Severity.WARNING, Severity.ERROR, Severity.CRITICAL, None):
            found(database, clock, late(severity) if severity else [])
            for _ in range(6):
                clock.advance(30 * SECOND)
                tell(database, channels, clock)
        assert sink.posts == []
        assert sink.refused >= 3
        sink.status = 200
        for _ in range(6):
            clock.advance(MINUTE)
            tell(database, channels, clock)
        assert [post["title"] for post in sink.posts] == [
            f"[WARNING] hl_pipeline: stale, {MARKETS} alerts",
            f"[ERROR, WAS WARNING] hl_pipeline: stale, {MARKETS} alerts",
            f"[CRITICAL, WAS ERROR] hl_pipeline: stale, {MARKETS} alerts",
            f"[RESOLVED] hl_pipeline: stale, {MARKETS} alerts",
        ]


def kill_a_sender(database: Database, sink: Receiver, clock: ManualClock) -> None:
    """A process sends what is due, and is killed once the sink has taken a notice and not yet answered."""
    sink.arrived.clear()
    sink.hold.clear()
    command = [sys.executable, "-W", "ignore", "-c", SENDER, database.libpq_url]
    sender = subprocess.Popen([*command, f"json://{sink.address}/hook", str(clock.now_ms())])
    try:
        assert sink.arrived.wait(60)
    finally:
        os.kill(sender.pid, signal.SIGKILL)
        sender.wait(30)
        sink.hold.set()


def test_each_kill_of_a_sender_costs_at_most_one_duplicate_and_loses_nothing(
    database: Database, clock: ManualClock
) -> None:
    incidents, kills = 6, 3
    with database.connection() as connection:
        for number in range(incidents):
            check = failed_check("thing", f"check {number}", f"found {number}", "mend it", Severity.ERROR)
            raise_alert(connection, check, clock.now_ms())
    with receiving() as sink:
        for _ in range(kills):
            clock.advance(2 * MINUTE)  # a claim is past after one
            kill_a_sender(database, sink, clock)
        for _ in range(4):
            clock.advance(2 * MINUTE)
            tell(database, open_channels([f"json://{sink.address}/hook"]), clock)
        told = Counter(post["message"].splitlines()[0] for post in sink.posts)
    assert set(told) == {f"- thing: check {number}: found {number}" for number in range(incidents)}
    assert sum(told.values()) <= incidents + kills
    with database.connection() as connection:
        (record,) = alert_delivery.rates(connection, clock.now_ms())
    assert (record.notices, record.sent, record.waiting) == (incidents, incidents, 0)


def test_one_acknowledgement_holds_for_all_five_hundred_and_a_graver_one_still_comes_through(
    database: Database, clock: ManualClock, ear: Ear
) -> None:
    def live(hours: int) -> None:
        for _ in range(hours):
            clock.advance(HOUR)
            tell(database, [channel(ear)], clock)

    found(database, clock, late(Severity.WARNING))
    live(1)
    with database.connection() as connection:
        number = alert_delivery.listed(connection, clock.now_ms())[0].number
        assert alert_delivery.acknowledge(connection, number, "anna", clock.now_ms()) == MARKETS
    live(12)
    assert ear.kinds == ["firing"]
    found(database, clock, [*late(Severity.WARNING), market_stale("NEW", "1m", 900.0, 190.0, Severity.CRITICAL)])
    live(1)
    assert ear.kinds == ["firing", "worse"]
    found(database, clock, [])
    live(12)
    assert ear.kinds == ["firing", "worse", "resolved"]


def test_a_silence_over_the_whole_outage_is_as_if_it_never_was(
    database: Database, clock: ManualClock, ear: Ear
) -> None:
    with database.connection() as connection:
        alert_delivery.silence(
            connection, rule="stale", labels={}, now_ms=NOW, until_ms=NOW + 12 * HOUR, by="anna", reason="maintenance"
        )
    found(database, clock, late(Severity.CRITICAL))
    for hours in range(24):
        if hours == 8:
            found(database, clock, [])
        clock.advance(HOUR)
        tell(database, [channel(ear)], clock)
    assert ear.heard == []
