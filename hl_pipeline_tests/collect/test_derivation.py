"""5m to 1d are made from complete 1m candles; the exchange's own candles are the measure of them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hl_pipeline.collect.fill import FillPolicy, FillReport, fill
from hl_pipeline.collect.markets import refresh_markets
from hl_pipeline.model.candle import Candle, SeriesKey
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.interval import Interval, to_datetime
from hl_pipeline.model.span import Span
from hl_pipeline.storage import derivation, series
from hl_pipeline.storage.engine import Database
from hl_pipeline_tests.fakes import FakeExchange, market

MINUTE = 60_000
HOUR = 60 * MINUTE
NOON = 1_767_268_800_000  # 2026-01-01T12:00:00Z
M1, M5, H1 = (SeriesKey("BTC", interval) for interval in (Interval.M1, Interval.M5, Interval.H1))
PARENTS = [interval for interval in Interval if interval is not Interval.M1]


class Ladder(FakeExchange):
    """Its larger candles are the exact aggregates of its minutes, unless ``changed`` says otherwise."""

    def truth(self, key: SeriesKey, open_ms: int) -> Candle:
        if key.interval is Interval.M1:
            return self.changed.get((key, open_ms)) or super().truth(key, open_ms)
        minutes = range(open_ms, min(open_ms + key.interval.milliseconds, self.clock.now_ms()), MINUTE)
        return aggregate(open_ms, [self.truth(SeriesKey(key.coin, Interval.M1), at) for at in minutes])


def aggregate(open_ms: int, minutes: list[Candle]) -> Candle:
    """One candle of all the minutes; those without trades count where there are no others."""
    traded = [minute for minute in minutes if minute.trades] or minutes
    volume = sum((Decimal(minute.volume) for minute in traded), Decimal(0))
    return Candle(
        open_ms,
        traded[0].open,
        max((minute.high for minute in traded), key=Decimal),
        min((minute.low for minute in traded), key=Decimal),
        traded[-1].close,
        str(volume),
        sum(minute.trades for minute in traded),
    )


class Bench:
    """One market with minutes and larger intervals, read for the first time at 12:00:20."""

    def __init__(self, database: Database, intervals: Sequence[Interval]) -> None:
        self.database = database
        self.clock = ManualClock(NOON + 20_000)
        self.exchange = Ladder(self.clock, markets=[market("BTC")], history_start_ms=NOON - 30 * HOUR)
        refresh_markets(self.exchange, database, self.clock, coins=["BTC"], intervals=[Interval.M1, *intervals])

    def fill(self, minutes: int = 0) -> FillReport:
        """Let the minutes pass, then fill."""
        self.clock.advance(minutes * MINUTE)
        self.exchange.requests.clear()
        report = fill(self.exchange, self.database, self.clock, FillPolicy(concurrency=1))
        with self.database.connection() as connection:
            assert series.violations(connection) == []
        return report

    def asked(self) -> list[str]:
        return [str(request.series.interval) for request in self.exchange.requests]

    def rows(self, statement: str, **values: object) -> list[tuple[Any, ...]]:
        with self.database.connection() as connection:
            return connection.execute(statement.encode(), values).fetchall()

    def stored(self, key: SeriesKey, open_ms: int) -> tuple[Candle, str, str] | None:
        """The row with its source and finality."""
        found = self.rows(
            "select hl.epoch_ms(open_time), open::text, high::text, low::text, close::text, volume::text, trades,"
            " source, finality from hl.candles where coin = %(coin)s and interval = %(interval)s"
            " and hl.epoch_ms(open_time) = %(at)s",
            coin=key.coin,
            interval=str(key.interval),
            at=open_ms,
        )
        return (Candle(*found[0][:7]), str(found[0][7]), str(found[0][8])) if found else None

    def states(self, interval: Interval) -> tuple[object, object]:
        """Final and empty slots of one interval, as text."""
        ((final, empty),) = self.rows(
            "select range_agg(final)::text, range_agg(empty)::text from hl.coverage join hl.series using (series_id)"
            " where interval = %(interval)s",
            interval=str(interval),
        )
        return final, empty


@pytest.fixture
def bench(database: Database) -> Bench:
    return Bench(database, [Interval.M5])


def test_the_first_answers_are_the_exchanges_own_at_every_interval(database: Database) -> None:
    bench = Bench(database, PARENTS)
    report = bench.fill()
    assert sorted(bench.asked()) == sorted(str(interval) for interval in Interval)
    assert report.derived == 0
    assert bench.rows("select count(*) from hl.candles where source <> 'rest'") == [(0,)]


def test_five_closed_minutes_make_a_candle_without_a_request(bench: Bench) -> None:
    bench.fill()
    report = bench.fill(5)
    assert bench.asked() == ["1m"]
    assert report.derived == 1
    assert bench.stored(M5, NOON) == (bench.exchange.truth(M5, NOON), "derived", "final")


def test_the_open_candle_follows_its_minutes(bench: Bench) -> None:
    bench.fill()
    bench.fill(2)
    assert bench.asked() == ["1m"]
    so_far = bench.exchange.truth(M5, NOON)
    assert bench.stored(M5, NOON) == (so_far, "derived", "open")
    bench.fill(1)
    assert bench.stored(M5, NOON) == (bench.exchange.truth(M5, NOON), "derived", "open") != (so_far, "derived", "open")


def test_a_candle_of_any_interval_is_the_exact_sum_of_its_minutes(database: Database) -> None:
    bench = Bench(database, PARENTS)
    bench.fill()
    for _ in range(37):
        report = bench.fill(60)
        assert report.failures == []
    kinds = bench.rows(
        "select interval, count(*) from hl.candles where source = 'derived' and finality = 'final' group by interval"
    )
    assert {interval for interval, _ in kinds} == {str(interval) for interval in PARENTS}
    for interval, at in bench.rows(
        "select interval, hl.epoch_ms(open_time) from hl.candles where interval <> '1m' and finality = 'final'"
    ):
        key = SeriesKey("BTC", Interval(str(interval)))
        stored = bench.stored(key, int(str(at)))
        assert stored is not None
        truth = bench.exchange.truth(key, int(str(at)))
        assert stored[0]._replace(volume="") == truth._replace(volume="")
        assert Decimal(stored[0].volume) == Decimal(truth.volume)


def test_a_minute_that_is_missing_leaves_its_candle_provisional_and_after_a_while_the_exchange_is_asked_for_it(
    bench: Bench,
) -> None:
    bench.fill()
    bench.exchange.hidden.add((M1, NOON + 2 * MINUTE))
    bench.fill(5)
    assert bench.asked() == ["1m"]
    minutes = [bench.exchange.truth(M1, NOON + minute * MINUTE) for minute in (0, 1, 3, 4)]
    assert bench.stored(M5, NOON) == (aggregate(NOON, minutes), "derived", "provisional")
    for _ in range(4):
        bench.fill(6)
        assert bench.asked() == ["1m"]
    bench.fill(7)
    assert bench.asked() == ["1m", "5m"]
    assert bench.stored(M5, NOON) == (bench.exchange.truth(M5, NOON), "rest", "final")
    assert bench.rows("select count(*) from hl.candle_revision") == [(0,)], "a preview leaves no revision"


@pytest.mark.parametrize(("reason", "stored"), [("unasked", 0), ("failed", 0), ("absent", 1)])
def test_no_candle_is_made_over_a_minute_that_was_never_read(bench: Bench, reason: str, stored: int) -> None:
    bench.fill()
    bench.fill(5)
    minute = to_datetime(NOON + 2 * MINUTE), to_datetime(NOON + 3 * MINUTE)
    with bench.database.connection() as connection:
        base, larger = (found.series_id for found in series.load(connection))
        connection.execute(
            "update hl.coverage set final = final - tstzmultirange(tstzrange(%s, %s)) where series_id = %s",
            (*minute, base),
        )
        connection.execute(
            "insert into hl.gap (series_id, slots, reason, next_try, deadline)"
            " values (%s, tstzrange(%s, %s), %s, 'infinity', 'infinity')",
            (base, *minute, reason),
        )
        connection.execute("delete from hl.candle where open_time = %s and series_id = %s", (minute[0], base))
        connection.execute("delete from hl.candle where open_time = %s and series_id = %s", (to_datetime(NOON), larger))
        derivation.upward(connection, base, Span(NOON, NOON + 5 * MINUTE), 99, bench.clock.now_ms(), 10_000)
    assert (bench.stored(M5, NOON) is not None) == bool(stored)


def test_a_minute_that_comes_late_completes_its_candle(bench: Bench) -> None:
    bench.fill()
    bench.exchange.hidden |= {(M1, NOON + 2 * MINUTE), (M5, NOON)}
    bench.fill(5)
    bench.exchange.hidden.clear()
    report = bench.fill(20)
    assert report.derived == 5
    assert bench.stored(M5, NOON) == (bench.exchange.truth(M5, NOON), "derived", "final")


def test_a_changed_minute_changes_its_candle_and_the_old_value_is_kept(bench: Bench) -> None:
    bench.fill()
    bench.fill(5)
    before = bench.exchange.truth(M5, NOON)
    minute = bench.exchange.truth(M1, NOON + MINUTE)
    bench.exchange.changed[M1, NOON + MINUTE] = minute._replace(high="900.5", trades=minute.trades + 1)
    bench.fill(5)
    after = bench.exchange.truth(M5, NOON)
    assert after.high == "900.5"
    assert bench.stored(M5, NOON) == (after, "derived", "final")
    revisions = bench.rows(
        "select interval, high::text, trades, source::text from hl.candle_revision join hl.series using (series_id)"
        " order by interval"
    )
    assert revisions == [("1m", minute.high, minute.trades, "r"), ("5m", before.high, before.trades, "d")]


def test_once_a_day_the_exchanges_own_candles_replace_the_derived_ones_and_nothing_is_revised(bench: Bench) -> None:
    bench.fill()
    asked = []
    for _ in range(26):
        bench.fill(60)
        asked += bench.asked()
    assert asked.count("1m") == 26
    assert 1 <= asked.count("5m") <= 2, "the series' own hour may come twice in 26"
    sources = dict(bench.rows("select source, count(*) from hl.candles where interval = '5m' group by source"))
    assert sources["rest"] > 300
    assert bench.rows("select count(*) from hl.candle_revision") == [(0,)]


def test_a_derived_candle_that_the_exchange_contradicts_is_kept_as_a_revision(bench: Bench) -> None:
    bench.fill()
    bench.fill(5)
    derived = bench.exchange.truth(M5, NOON)
    bench.exchange.changed[M5, NOON] = derived._replace(trades=derived.trades + 3)
    for _ in range(26):
        bench.fill(60)
    assert bench.stored(M5, NOON) == (bench.exchange.changed[M5, NOON], "rest", "final")
    assert bench.rows("select hl.epoch_ms(open_time), trades, source::text from hl.candle_revision") == [
        (NOON, derived.trades, "d")
    ]


def test_volumes_that_differ_by_float_noise_are_the_same_value(bench: Bench) -> None:
    bench.fill()
    bench.fill(5)
    derived = bench.exchange.truth(M5, NOON)
    noisy = derived._replace(volume=str(Decimal(derived.volume) + Decimal("0.000000001")))
    bench.exchange.changed[M5, NOON] = noisy
    for _ in range(26):
        bench.fill(60)
    assert bench.stored(M5, NOON) == (noisy, "rest", "final")
    assert bench.rows("select count(*) from hl.candle_revision") == [(0,)]


def test_five_minutes_proven_empty_are_an_empty_slot(bench: Bench) -> None:
    quiet = NOON + 5 * MINUTE
    bench.fill()
    bench.exchange.hidden |= {(M1, quiet + minute * MINUTE) for minute in range(5)} | {(M5, quiet)}
    for _ in range(5):
        bench.fill(45)
    assert bench.stored(M5, quiet) is None
    assert "12:05:00" in str(bench.states(Interval.M5)[1])
    bench.exchange.hidden.clear()
    for _ in range(40):
        bench.fill(60)
    assert bench.stored(M5, quiet) is not None, "the minutes came after all, and a re-read found them"
    assert bench.states(Interval.M5)[1] == "{}"


def test_a_minute_seen_open_and_then_no_more_gives_its_candle_nothing(bench: Bench) -> None:
    bench.fill()
    bench.exchange.hidden |= {(M1, NOON), (M5, NOON)}
    for _ in range(5):
        bench.fill(45)
    stored = bench.stored(M5, NOON)
    assert stored is not None
    minutes = [bench.exchange.truth(M1, NOON + minute * MINUTE) for minute in range(1, 5)]
    assert stored == (aggregate(NOON, minutes), "derived", "final")


def test_a_series_tracked_later_begins_with_the_exchanges_own_candles(bench: Bench) -> None:
    bench.fill()
    bench.fill(5)
    refresh_markets(
        bench.exchange,
        bench.database,
        bench.clock,
        coins=["BTC"],
        intervals=[Interval.M1, Interval.M5, Interval.H1],
    )
    bench.fill(1)
    assert sorted(bench.asked()) == ["1h", "1m"]
    for _ in range(60):
        bench.fill(1)
    assert bench.stored(H1, NOON) == (bench.exchange.truth(H1, NOON), "derived", "final")


minutes_of_an_hour = st.lists(
    st.tuples(st.integers(1, 10**9), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 5)),
    min_size=60,
    max_size=60,
)


@given(minutes_of_an_hour)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_hour_of_minutes_makes_the_candles_of_the_plainest_aggregation(
    database: Database, prices: list[tuple[int, int, int, int]]
) -> None:
    with database.connection() as connection:
        connection.execute("truncate hl.market cascade")
        connection.execute("truncate hl.candle")
    bench = Bench(database, PARENTS)
    for number, (low, up, down, trades) in enumerate(prices):
        o, c, high = (Decimal(low + delta) / 1000 for delta in (up, down, max(up, down)))
        volume = str(Decimal(trades * low) / 8000) if trades else "0"
        row = Candle(NOON + number * MINUTE, str(o), str(high), str(Decimal(low) / 1000), str(c), volume, trades)
        bench.exchange.changed[M1, row.open_ms] = row
    bench.fill()
    bench.fill(60)
    for interval, offset in itertools.product((Interval.M5, Interval.M15, Interval.H1), range(0, 60, 5)):
        at = NOON + offset * MINUTE
        if at == interval.floor(at):
            stored = bench.stored(SeriesKey("BTC", interval), at)
            truth = bench.exchange.truth(SeriesKey("BTC", interval), at)
            assert stored is not None
            assert [Decimal(text) for text in stored[0][1:]] == [Decimal(text) for text in truth[1:]]
