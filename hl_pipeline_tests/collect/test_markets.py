"""Which markets are collected, and what becomes of those that come, go, change their name or fall silent.

Real HTTP to a sandbox whose markets live and trade as each test says.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from hl_pipeline.collect.fill import FillReport, fill
from hl_pipeline.collect.markets import MarketsReport, refresh_contexts, refresh_markets
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.interval import Interval
from hl_pipeline.model.universe import LEAVES_AFTER_MS, Universe
from hl_pipeline.sandbox.catalogue import MarketSpec, default_markets, first_perps, markets_named
from hl_pipeline.sandbox.limiter import LimiterMode
from hl_pipeline.sandbox.server import RunningSandbox
from hl_pipeline.sandbox.world import Manners, QuietMode, World
from hl_pipeline.source.rest import HyperliquidRest
from hl_pipeline.storage.budget import PostgresBudget
from hl_pipeline.storage.engine import Database
from hl_pipeline.storage.series import violations

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
NOON = 1_785_067_200_000  # 2026-07-26T12:00:00Z
START = NOON + 20_000
HISTORY = """
select coin, attribute, old_value, new_value from hl.market_history join hl.market using (market_id)
where changed_at > to_timestamp(%(since)s / 1000.0) order by changed_at, coin, attribute
"""
SERIES = """
select hl.epoch_ms(tracked_from), hl.epoch_ms(first_open), hl.epoch_ms(known_until), hl.epoch_ms(ended_at)
from hl.series join hl.market using (market_id) where coin = %(coin)s and interval = '1m'
"""
STORED = """
select hl.epoch_ms(open_time) from hl.candles
where coin = %(coin)s and interval = '1m' and finality = 'final' order by 1
"""
STRETCHES = """
select series.interval, (
    select count(*) from (
        select unnest(range_agg(final)) from hl.coverage where coverage.series_id = series.series_id
    ) as stretch
) from hl.series join hl.market using (market_id) where coin = %(coin)s order by 1
"""
TRACKED = "select coin from hl.market where tracked"
ALERTS = "select rule, labels ->> 'coin' from hl.alert where resolved_at is null order by 1, 2"


class Collector:
    """A collector and the exchange it collects from, under one clock."""

    intervals: tuple[Interval, ...] = (Interval.M1,)

    def __init__(self, source: HyperliquidRest, database: Database, clock: ManualClock) -> None:
        self.source, self.database, self.clock = source, database, clock

    def refresh(self, universe: Universe = Universe.LIST, *coins: str) -> MarketsReport:
        return refresh_markets(
            self.source, self.database, self.clock, coins=coins, intervals=self.intervals, universe=universe
        )

    def fill(self) -> FillReport:
        report = fill(self.source, self.database, self.clock)
        with self.database.connection() as connection:
            assert violations(connection) == []
        return report

    def rows(self, text: str, **values: Any) -> list[tuple[Any, ...]]:
        with self.database.connection() as connection:
            return connection.execute(text.encode(), values).fetchall()

    def tracked(self) -> set[str]:
        return {row[0] for row in self.rows(TRACKED)}

    def history(self, since_ms: int = START) -> list[tuple[Any, ...]]:
        return self.rows(HISTORY, since=since_ms)

    def stored(self, coin: str) -> list[int]:
        return [row[0] for row in self.rows(STORED, coin=coin)]


@contextmanager
def collecting(database: Database, markets: Iterable[MarketSpec]) -> Iterator[Collector]:
    clock = ManualClock(START)
    world = World(7, markets=markets, clock=clock, history_days=6)
    budget = PostgresBudget(database, key="markets", max_weight=100_000)
    budget.ensure()
    with (
        RunningSandbox(world, limiter=LimiterMode.OFF, manners=Manners(QuietMode.DENSE)) as sandbox,
        HyperliquidRest(sandbox.url, budget=budget) as source,
    ):
        yield Collector(source, database, clock)


def busy(coin: str, **life: Any) -> MarketSpec:
    """A market that trades in every minute."""
    return MarketSpec(coin, 5.0, 1, 5, **life)


def test_the_fifty_largest_and_the_named_are_collected(database: Database) -> None:
    perps = first_perps(120, START)
    named = (perps[110].coin, "@107", "xyz:TSLA")
    with collecting(database, (*perps, *markets_named("@107", "xyz:TSLA"))) as collector:
        report = collector.refresh(Universe.TOP50, *named, "NOSUCH")
        by_volume = collector.rows(
            "select coin from hl.market_context join hl.market using (market_id) where kind = 'perp'"
            " order by day_notional_volume desc limit 50"
        )
        assert collector.tracked() == {row[0] for row in by_volume} | set(named)
        assert set(report.tracked) == collector.tracked()
        assert (report.series_added, report.unknown) == (53, ["NOSUCH"])
        assert report.tracked[0] == "BTC"
        assert collector.refresh(Universe.TOP50, *named).turned == ([], [])


def test_all_is_every_listed_perpetual_of_the_exchange(database: Database) -> None:
    with collecting(database, default_markets()) as collector:
        collector.refresh(Universe.ALL)
        perps = [market for market in default_markets() if market.kind == "perp"]
        trading = {perp.coin for perp in perps if not perp.is_delisted_at(START)}
        assert len(trading) > 190
        assert collector.tracked() == trading
        stored = refresh_contexts(collector.source, database, ManualClock(START + MINUTE), coins=())
        assert stored == len(trading), "a tick keeps the quotes of tracked markets only"


@pytest.mark.parametrize("universe", [Universe.TOP50, Universe.ALL])
def test_a_new_listing_is_collected_by_itself_and_told_until_its_candles_come(
    database: Database, universe: Universe
) -> None:
    born = NOON + 30 * MINUTE
    with collecting(database, (*first_perps(3, START), busy("NEW", listed_ms=born))) as collector:
        collector.refresh(universe)
        collector.fill()
        assert "NEW" not in collector.tracked()

        collector.clock.advance(HOUR)
        report = collector.refresh(universe)
        assert (report.changes.listed, report.turned.begun, report.series_added) == (["NEW"], ["NEW"], 1)
        assert collector.history() == [("NEW", "listed", None, "NEW"), ("NEW", "tracked_by", None, "universe")]
        assert collector.rows(ALERTS) == [("market_listed", "NEW")]

        collector.fill()
        assert collector.stored("NEW") == list(range(born, NOON + HOUR, MINUTE)), "from its first candle on"
        collector.clock.advance(HOUR)
        collector.refresh(universe)
        assert collector.rows(ALERTS) == []


def test_a_listing_that_is_not_wanted_is_written_down_and_not_collected(database: Database) -> None:
    with collecting(database, (*first_perps(2, START), busy("NEW", listed_ms=NOON + 30 * MINUTE))) as collector:
        collector.refresh(Universe.LIST, "BTC")
        collector.clock.advance(HOUR)
        assert collector.refresh(Universe.LIST, "BTC").changes.listed == ["NEW"]
        assert collector.history() == [("NEW", "listed", None, "NEW")]
        assert collector.tracked() == {"BTC"}
        assert collector.rows(ALERTS) == []


def test_a_delisting_is_told_until_the_series_has_ended_and_the_market_leaves_after_three_days(
    database: Database,
) -> None:
    ended = NOON + 30 * MINUTE
    with collecting(database, (*first_perps(2, START), busy("DYING", delisted_ms=ended))) as collector:
        collector.refresh(Universe.ALL)
        collector.fill()
        collector.clock.advance(HOUR)
        assert collector.refresh(Universe.ALL).changes.delisted == ["DYING"]
        assert collector.history() == [("DYING", "is_delisted", "false", "true")]
        assert collector.rows(ALERTS) == [("market_delisted", "DYING")]
        collector.fill()
        for _ in range(3):
            collector.clock.advance(HOUR)
            collector.refresh(Universe.ALL)
            collector.fill()
        collector.refresh(Universe.ALL)
        assert collector.rows(SERIES, coin="DYING")[0][3] == ended
        assert collector.rows(ALERTS) == []
        assert "DYING" in collector.tracked()

        collector.clock.advance(LEAVES_AFTER_MS)
        assert collector.refresh(Universe.ALL).turned.ended == ["DYING"]
        assert collector.stored("DYING")[-1] == ended - MINUTE, "what is stored stays"
        assert collector.fill().lost == 0


def test_a_renamed_market_and_its_new_name_stay_two_and_each_keeps_its_own_candles(database: Database) -> None:
    at = NOON + 30 * MINUTE
    old, new = busy("MATIC", delisted_ms=at, withdrawn_ms=at), busy("POL", listed_ms=at)
    btc, eth = first_perps(2, START)
    with collecting(database, (btc, old, new, eth)) as collector:
        collector.refresh(Universe.ALL)
        collector.fill()
        collector.clock.advance(HOUR)
        report = collector.refresh(Universe.ALL)
        assert report.changes.renamed == ["MATIC to POL"]
        assert collector.history() == [
            ("MATIC", "is_absent", "false", "true"),
            ("MATIC", "renamed_to", "MATIC", "POL"),
            ("POL", "listed", None, "POL"),
            ("POL", "renamed_from", "MATIC", "POL"),
            ("POL", "tracked_by", None, "universe"),
        ]
        collector.fill()
        assert max(collector.stored("MATIC")) < at <= min(collector.stored("POL"))
        assert collector.rows("select count(*) from hl.series") == [(4,)]
        collector.clock.advance(HOUR)
        assert collector.refresh(Universe.ALL).changes.renamed == []


def test_markets_that_move_up_into_the_place_of_one_that_is_gone_are_not_its_new_names(database: Database) -> None:
    at = NOON + 30 * MINUTE
    btc, eth = first_perps(2, START)
    markets = (btc, busy("GONE", withdrawn_ms=at), eth, busy("NEXT"), busy("NEW", listed_ms=at))
    with collecting(database, markets) as collector:
        collector.refresh(Universe.ALL)
        collector.clock.advance(HOUR)
        changes = collector.refresh(Universe.ALL).changes
        assert (changes.absent, changes.listed, changes.renamed) == (["GONE"], ["NEW"], [])


def test_markets_that_vanish_from_one_answer_are_told_once_kept_and_welcomed_back(database: Database) -> None:
    perps = first_perps(6, START)
    gone = {perp.coin for perp in perps[2:]}
    at, back = START + 30 * MINUTE, START + 90 * MINUTE
    with collecting(database, perps) as collector:
        collector.refresh(Universe.ALL)
        collector.fill()
        whole = collector.source

        class Truncated:
            def markets(self, **asked: Any) -> Any:
                answer = whole.markets(**asked)
                return replace_answer(answer, gone)

        collector.source = Truncated()  # type: ignore[assignment]
        collector.clock.set(at)
        changes = collector.refresh(Universe.ALL).changes
        assert set(changes.absent) == gone
        assert collector.rows("select count(*) from hl.market where is_delisted") == [(0,)]
        assert collector.tracked() == {perp.coin for perp in perps}
        assert collector.rows(ALERTS) == [("markets_absent", None)]
        collector.clock.advance(MINUTE)
        assert collector.refresh(Universe.ALL).changes.absent == [], "told once"
        assert collector.rows(
            "select distinct hl.epoch_ms(absent_since) from hl.market where absent_since is not null"
        ) == [(at,)]

        collector.source = whole
        collector.clock.set(back)
        assert set(collector.refresh(Universe.ALL).changes.returned) == gone
        assert collector.rows(ALERTS) == []
        assert {(row[0], *row[2:]) for row in collector.history(at + MINUTE)} == {
            (coin, "true", "false") for coin in gone
        }
        collector.fill()
        assert all(collector.stored(coin)[-1] == NOON + 89 * MINUTE for coin in gone)


def replace_answer(answer: Any, without: set[str]) -> Any:
    """The answer with some markets cut off."""
    return replace(
        answer,
        markets=[market for market in answer.markets if market.coin not in without],
        contexts=[context for context in answer.contexts if context.coin not in without],
    )


@pytest.mark.parametrize("away_ms", [10 * DAY, 40 * DAY])
def test_a_market_that_comes_back_begins_anew_where_the_exchange_still_reaches(
    database: Database, away_ms: int
) -> None:
    with collecting(database, first_perps(2, START)) as collector:
        collector.refresh(Universe.LIST, "BTC", "ETH")
        collector.fill()
        before = collector.stored("ETH")
        known_until = collector.rows(SERIES, coin="ETH")[0][2]
        collector.refresh(Universe.LIST, "BTC")
        collector.clock.advance(away_ms)

        report = collector.refresh(Universe.LIST, "BTC", "ETH")
        assert (report.turned.begun, report.restarted, report.series_added) == (["ETH"], 1, 0)
        reachable = Interval.M1.oldest_reachable(collector.clock.now_ms())
        assert collector.rows(SERIES, coin="ETH")[0][:3] == (reachable, None, reachable)
        told = [row for row in collector.history() if row[1] == "out_of_reach_1m"]
        assert [row[0] for row in told] == ["ETH"]
        assert collector.rows(
            "select hl.epoch_ms(%(start)s::timestamptz), hl.epoch_ms(%(end)s::timestamptz)",
            start=told[0][2],
            end=told[0][3],
        ) == [(known_until, reachable)]

        collector.fill()
        assert collector.rows(
            "select coin from hl.coverage join hl.series using (series_id) join hl.market using (market_id)"
            " where lost <> '{}' group by coin"
        ) == [("BTC",)], "nobody collected meanwhile: BTC was expected, ETH was not"
        assert collector.rows(ALERTS) == [("slots_lost", "BTC")]
        after = collector.stored("ETH")
        assert after[: len(before)] == before, "what was stored stays"
        assert after[len(before) :] == list(range(reachable, collector.clock.now_ms() - 20_000, MINUTE))


def test_a_market_that_comes_back_soon_is_healed_without_a_hole(database: Database) -> None:
    with collecting(database, first_perps(2, START)) as collector:
        collector.refresh(Universe.LIST, "BTC", "ETH")
        collector.fill()
        collector.refresh(Universe.LIST, "BTC")
        collector.clock.advance(2 * DAY)
        assert collector.refresh(Universe.LIST, "BTC", "ETH").restarted == 0
        collector.fill()
        stored = collector.stored("ETH")
        assert stored == list(range(stored[0], stored[-1] + MINUTE, MINUTE))
        assert stored[-1] == NOON + 2 * DAY - MINUTE


def test_only_the_intervals_that_were_forgotten_begin_anew(database: Database) -> None:
    with collecting(database, first_perps(2, START)) as collector:
        collector.intervals = (Interval.M1, Interval.M5, Interval.H1)
        collector.refresh(Universe.LIST, "BTC", "ETH")
        collector.fill()
        collector.refresh(Universe.LIST, "BTC")
        collector.clock.advance(10 * DAY)
        assert collector.refresh(Universe.LIST, "BTC", "ETH").restarted == 1
        assert [row[:2] for row in collector.history() if row[1].startswith("out_of")] == [("ETH", "out_of_reach_1m")]
        collector.fill()
        assert collector.rows(STRETCHES, coin="ETH") == [("1h", 1), ("1m", 2), ("5m", 1)]
        assert collector.rows(
            "select count(*) from hl.gap join hl.series using (series_id) join hl.market using (market_id)"
            " where coin = 'ETH'"
        ) == [(0,)]


def test_a_gap_that_was_open_when_the_market_left_is_not_lost_when_it_comes_back(database: Database) -> None:
    with collecting(database, first_perps(2, START)) as collector:
        collector.refresh(Universe.LIST, "BTC", "ETH")
        collector.fill()
        old, young = NOON - 80 * HOUR, NOON - 30 * MINUTE
        collector.rows(OPEN_GAP, coin="ETH", start=old, end=old + 10 * MINUTE)
        collector.rows(OPEN_GAP, coin="ETH", start=young, end=young + 10 * MINUTE)
        collector.refresh(Universe.LIST, "BTC")
        collector.clock.advance(DAY)
        assert collector.refresh(Universe.LIST, "BTC", "ETH").restarted == 1
        assert collector.rows("select hl.epoch_ms(lower(slots)) from hl.gap") == [(young,)]
        assert collector.fill().lost == 0
        assert collector.rows("select count(*) from hl.gap") == [(0,)]


#: What a failed read leaves: the slots unsettled, and their rows not there.
OPEN_GAP = """
with slots as (
    select series_id, tstzrange(to_timestamp(%(start)s / 1000.0), to_timestamp(%(end)s / 1000.0)) as slots
    from hl.series join hl.market using (market_id) where coin = %(coin)s
),
unsettled as (
    update hl.coverage set final = final - slots::tstzmultirange from slots where coverage.series_id = slots.series_id
),
forgotten as (
    delete from hl.candle using slots where candle.series_id = slots.series_id and slots.slots @> candle.open_time
)
insert into hl.gap (series_id, slots, reason, next_try, deadline)
select series_id, slots, 'failed', lower(slots), lower(slots) + interval '5000 minutes' from slots
returning series_id
"""


def delisted_and_ended(collector: Collector, coin: str, ended_ms: int) -> None:
    """Collect until the ledger has ended the series of the delisted coin."""
    collector.refresh(Universe.LIST, coin)
    collector.fill()
    for _ in range(4):
        collector.clock.advance(HOUR)
        collector.refresh(Universe.LIST, coin)
        collector.fill()
    assert collector.rows(SERIES, coin=coin)[0][3] == ended_ms


@pytest.mark.parametrize("away_ms", [DAY, 20 * DAY])
def test_nothing_is_expected_of_the_time_between_a_delisting_and_a_new_listing(
    database: Database, away_ms: int
) -> None:
    ended, again = NOON + 30 * MINUTE, NOON + away_ms - 20 * MINUTE
    (btc,) = first_perps(1, START)
    with collecting(database, (btc, busy("PHOENIX", delisted_ms=ended))) as collector:
        delisted_and_ended(collector, "PHOENIX", ended)
        before = collector.stored("PHOENIX")
    with collecting(database, (btc, busy("PHOENIX", listed_ms=again))) as collector:
        collector.clock.set(START + away_ms)
        report = collector.refresh(Universe.LIST, "PHOENIX")
        assert (list(report.changes.relisted), report.reopened, report.restarted) == (["PHOENIX"], 1, 1)
        assert collector.fill().lost == 0
        assert collector.rows("select count(*) from hl.gap") == [(0,)]
        collector.clock.advance(4 * DAY)
        assert collector.fill().lost == 4 * 1440 - 4999, "only what nobody asked for since the new listing"
        assert collector.stored("PHOENIX")[: len(before) + 20] == [*before, *range(again, again + 20 * MINUTE, MINUTE)]
