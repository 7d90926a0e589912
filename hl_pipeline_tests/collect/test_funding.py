"""Reading funding forward on a real Postgres: pages, jitter, eras, failures, and two ways to the same table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hl_pipeline.collect.funding import FundingReport, refresh_funding
from hl_pipeline.model.answer import RejectedRow
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.failure import BudgetExhausted, ExchangeUnavailable, PipelineError
from hl_pipeline.model.interval import to_datetime
from hl_pipeline.model.market import FundingRate, Market, MarketKind
from hl_pipeline.model.universe import Universe, choose
from hl_pipeline.sandbox.catalogue import day
from hl_pipeline.sandbox.funding import HOURLY_SINCE_MS, funding_history
from hl_pipeline.sandbox.limiter import LimiterMode
from hl_pipeline.sandbox.server import RunningSandbox
from hl_pipeline.sandbox.world import World
from hl_pipeline.source.markets import decode_funding_history
from hl_pipeline.source.rest import HyperliquidRest
from hl_pipeline.storage import funding, markets
from hl_pipeline.storage.engine import Database
from hl_pipeline_tests.fakes import market
from hl_pipeline_tests.funding_rates import HOUR, FundingExchange, hourly
from hl_pipeline_tests.sandbox.worlds import BTC, GONE, TSLA
from hl_pipeline_tests.source.scripted import BudgetBook

NOON = day("2026-01-01") + 12 * HOUR
NOW = NOON + 240_000
RECORDED = (
    Path(__file__).resolve().parents[2].parent / "shared/fixtures/rest/pysdk_fundingHistory_BTC_with_endTime.json"
)


class Bench:
    """Tracked markets, a clock and a database."""

    def __init__(self, database: Database, *found: Market, now_ms: int = NOW) -> None:
        self.database, self.clock = database, ManualClock(now_ms)
        self.coins = [each.coin for each in found]
        self.learn(*found)

    def learn(self, *found: Market) -> None:
        with self.database.connection() as connection:
            markets.upsert(connection, found, self.clock.now_ms())
            standings, now_ms = markets.standings(connection, {}), self.clock.now_ms()
            markets.track(connection, choose(Universe.LIST, self.coins, standings, now_ms), now_ms)

    def refresh(self, source: FundingExchange | HyperliquidRest, pages: int = 1000) -> FundingReport:
        return refresh_funding(source, self.database, self.clock, coins=self.coins, pages=pages, run_id="run")

    def rows(self, statement: str) -> list[tuple[object, ...]]:
        with self.database.connection() as connection:
            return connection.execute(statement.encode()).fetchall()

    def stored(self) -> list[FundingRate]:
        rows = self.rows(
            "select coin, hl.epoch_ms(time), rate::text, premium::text from hl.funding_rate"
            " join hl.market using (market_id) order by 1, 2"
        )
        return [FundingRate(*row) for row in rows]  # type: ignore[arg-type]  # the query's columns are the tuple's

    def missing(self) -> int:
        with self.database.connection() as connection:
            return sum(each.missing for each in funding.summary(connection, self.coins))


@pytest.fixture
def bench(database: Database) -> Bench:
    return Bench(database, market("BTC"))


@pytest.mark.parametrize("count", [1, 499, 500, 501, 1000, 1203])
def test_pages_are_read_forward_until_one_is_short(bench: Bench, count: int) -> None:
    exchange = FundingExchange(hourly("BTC", NOON - (count - 1) * HOUR, count))
    report = bench.refresh(exchange)
    assert bench.stored() == exchange.rates
    assert (report.inserted, report.repeated, report.landed) == (count, 0, count // 500 + 1)
    starts = [start for _, start, _, _ in exchange.asked]
    assert starts == [0, *(exchange.rates[number - 1].time_ms + 1 for number in range(500, count + 1, 500))]


def test_history_is_read_in_the_backfill_lane_and_the_newest_page_in_the_live_one(bench: Bench) -> None:
    exchange = FundingExchange(hourly("BTC", NOON - 1199 * HOUR, 1200))
    bench.refresh(exchange)
    assert [lane for *_, lane in exchange.asked] == ["backfill", "backfill", "live"]
    provenance = bench.rows("select request_type, coin, lane, rows, status, run_id from hl.fetch order by fetch_id")
    assert provenance == [
        ("fundingHistory", "BTC", "backfill", 500, "landed", "run"),
        ("fundingHistory", "BTC", "backfill", 500, "landed", "run"),
        ("fundingHistory", "BTC", "live", 200, "landed", "run"),
    ]
    assert bench.rows("select count(distinct fetch_id), bool_and(fetch_id is not null) from hl.funding_rate") == [
        (3, True)
    ]
    assert bench.rows("select hl.epoch_ms(window_start), hl.epoch_ms(window_end) from hl.fetch limit 1") == [
        (0, NOW + 1)
    ]


def test_running_twice_asks_nothing_and_an_hour_later_one_cheap_page(bench: Bench) -> None:
    exchange = FundingExchange(hourly("BTC", NOON - 9 * HOUR, 11))
    bench.refresh(exchange)
    again = bench.refresh(exchange)
    assert (again.landed, again.weight) == (0, 0)
    bench.clock.advance(HOUR)
    third = bench.refresh(exchange)
    assert (third.landed, third.inserted, third.weight) == (1, 1, 21)
    assert bench.stored() == exchange.rates


def test_a_rate_that_is_late_is_asked_for_again_and_costs_an_empty_page(bench: Bench) -> None:
    exchange = FundingExchange(hourly("BTC", NOON - 9 * HOUR, 9))
    bench.refresh(exchange)
    waiting = bench.refresh(exchange)
    assert (waiting.landed, waiting.received, waiting.weight) == (1, 0, 20)
    late = FundingRate("BTC", NOON + 1_433_000, "0.5", None)
    exchange.rates.append(late)
    bench.clock.set(late.time_ms)
    assert bench.refresh(exchange).inserted == 1
    assert (bench.stored()[-1], bench.missing()) == (late, 0)


def test_rates_that_differ_by_a_millisecond_are_two_and_one_instant_has_one(bench: Bench) -> None:
    near = [FundingRate("BTC", NOON + ms, "0.0001", "0.0002") for ms in (0, 1)]
    exchange = FundingExchange(near, [near[0]._replace(rate="0.0009")])
    report = bench.refresh(exchange)
    assert bench.stored() == near
    assert (report.received, report.inserted, report.rejected) == (3, 2, 1)
    assert bench.rows("select rule, value from hl.rejected_row") == [
        ("an instant has one rate, here 0.0001", f"{NOON}: 0.0009")
    ]


def test_two_runs_that_read_the_same_page_store_it_once(bench: Bench) -> None:
    exchange = FundingExchange(hourly("BTC", NOON - 2 * HOUR, 3))

    def other_run(coin: str, start_ms: int) -> PipelineError | None:
        exchange.error = lambda coin, start_ms: None
        assert bench.refresh(exchange).inserted == 3
        return None

    exchange.error = other_run
    report = bench.refresh(exchange)
    assert (report.inserted, report.repeated) == (0, 3)
    assert bench.stored() == exchange.rates


def test_a_rate_from_beyond_now_does_not_count_as_read_history(bench: Bench) -> None:
    exchange = FundingExchange(hourly("BTC", NOON - 2 * HOUR, 3))
    exchange.stray = [FundingRate("BTC", NOW + 400 * HOUR, "0.1", None)]
    report = bench.refresh(exchange)
    assert bench.stored() == exchange.rates
    assert report.rejected == 1
    assert bench.rows("select position from hl.rejected_row") == [(4,)]


def test_rows_refused_by_the_source_are_kept_with_their_rule(bench: Bench) -> None:
    exchange = FundingExchange(hourly("BTC", NOON, 1))
    exchange.rejected = [RejectedRow(7, "fundingRate: a decimal", "NaN", "{}")]
    report = bench.refresh(exchange)
    assert (report.received, report.inserted, report.rejected) == (2, 1, 1)
    assert bench.rows("select position, rule, value from hl.rejected_row") == [(7, "fundingRate: a decimal", "NaN")]


def test_a_full_page_of_refused_rows_is_a_failure_that_says_where_to_look(bench: Bench) -> None:
    exchange = FundingExchange()
    exchange.rejected = [RejectedRow(place, "broken", "x", "{}") for place in range(500)]
    report = bench.refresh(exchange)
    assert len(exchange.asked) == 1
    assert "none of 500 rates" in report.failures[0]
    assert "hl.rejected_row" in report.failures[0]


@pytest.mark.parametrize("failing_page", [0, 1, 2])
def test_a_failure_midway_keeps_what_landed_and_the_next_run_goes_on_from_there(
    bench: Bench, failing_page: int
) -> None:
    exchange = FundingExchange(hourly("BTC", NOON - 1299 * HOUR, 1300))
    starts = [0, exchange.rates[499].time_ms + 1, exchange.rates[999].time_ms + 1]
    exchange.error = lambda _, start_ms: ExchangeUnavailable("down") if start_ms == starts[failing_page] else None
    report = bench.refresh(exchange)
    assert report.failures == ["BTC: down"]
    assert len(bench.stored()) == 500 * failing_page
    exchange.error = lambda *_: None
    exchange.asked.clear()
    bench.refresh(exchange)
    assert [start for _, start, *_ in exchange.asked] == starts[failing_page:]
    assert bench.stored() == exchange.rates


def test_a_killed_run_leaves_whole_pages_only(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    exchange = FundingExchange(hourly("BTC", NOON - 699 * HOUR, 700))
    landed = funding.insert
    calls = []

    def killed(*arguments: object, **named: object) -> int:
        stored = landed(*arguments, **named)  # type: ignore[arg-type]  # passed on as they came
        calls.append(stored)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return stored

    with monkeypatch.context() as patch:
        patch.setattr(funding, "insert", killed)
        with pytest.raises(KeyboardInterrupt):
            bench.refresh(exchange)
    assert len(bench.stored()) == 500
    assert bench.refresh(exchange).inserted == 200
    assert bench.stored() == exchange.rates


def test_a_market_that_fails_does_not_hold_up_the_others(database: Database) -> None:
    bench = Bench(database, market("BTC"), market("ETH"), market("SOL"))
    exchange = FundingExchange(hourly("BTC", NOON, 1), hourly("SOL", NOON - 600 * HOUR, 601))
    exchange.error = lambda coin, _: ExchangeUnavailable("down") if coin == "ETH" else None
    report = bench.refresh(exchange)
    assert report.failures == ["ETH: down"]
    assert bench.stored() == exchange.rates
    assert bench.rows("select coin, error from hl.fetch where status = 'failed'") == [("ETH", "down")]


def test_history_is_bounded_and_shared_in_turn_and_never_the_newest_page(database: Database) -> None:
    bench = Bench(database, market("BTC"), market("ETH"), market("SOL"))
    exchange = FundingExchange(hourly("SOL", NOON - 4 * HOUR, 5))
    with database.connection() as connection:
        (sol,) = [each for each in funding.progress(connection, bench.coins) if each.coin == "SOL"]
        funding.insert(connection, sol.market_id, exchange.rates[:2], fetch_id=1)
    exchange.rates += hourly("BTC", NOON - 1999 * HOUR, 2000) + hourly("ETH", NOON - 1999 * HOUR, 2000)
    report = bench.refresh(exchange, pages=3)
    assert [(coin, lane) for coin, *_, lane in exchange.asked] == [
        ("SOL", "live"),
        ("BTC", "backfill"),
        ("ETH", "backfill"),
        ("BTC", "backfill"),
    ]
    assert report.unfinished == {"BTC", "ETH"}
    while bench.refresh(exchange, pages=3).unfinished:
        pass
    assert bench.stored() == sorted(exchange.rates)


def test_no_weight_left_ends_the_run_without_a_failure(database: Database) -> None:
    bench = Bench(database, market("BTC"), market("ETH"))
    exchange = FundingExchange()
    exchange.error = lambda *_: BudgetExhausted("full")
    report = bench.refresh(exchange)
    assert (len(exchange.asked), report.failures, report.unfinished) == (1, [], {"BTC", "ETH"})


def test_no_negative_number_of_pages_is_accepted(bench: Bench) -> None:
    with pytest.raises(ValueError, match="pages = -1"):
        bench.refresh(FundingExchange(), pages=-1)


def test_spot_and_untracked_markets_are_never_asked(database: Database) -> None:
    bench = Bench(database, market("BTC"), Market("@107", MarketKind.SPOT, "", 2, None))
    bench.learn(market("ETH"))
    exchange = FundingExchange(hourly("BTC", NOON, 1))
    assert bench.refresh(exchange).markets == 1
    assert {coin for coin, *_ in exchange.asked} == {"BTC"}


def test_a_delisted_market_is_read_to_its_end_and_then_left_alone_until_it_trades_again(database: Database) -> None:
    bench = Bench(database, market("OLD", is_delisted=True))
    exchange = FundingExchange(hourly("OLD", NOON - 900 * HOUR, 700))
    bench.refresh(exchange)
    assert bench.stored() == exchange.rates
    assert bench.refresh(exchange).received == 0, "just delisted: a last rate may come"
    bench.clock.advance(3 * HOUR)
    assert bench.refresh(exchange).landed == 1
    exchange.asked.clear()
    assert bench.refresh(exchange).landed == 0
    bench.learn(market("OLD"))
    assert bench.refresh(exchange).landed == 1, "listed again"
    bench.clock.advance(HOUR)
    bench.learn(market("OLD", is_delisted=True))
    assert bench.refresh(exchange).landed == 1, "delisted again, later than the end that was proven"


def test_the_eight_hour_era_is_no_hole_and_two_hours_afterwards_are(bench: Bench) -> None:
    switch = day("2023-06-07")
    era = [FundingRate("BTC", switch - number * 8 * HOUR, "0.1", "0.1") for number in range(20, 0, -1)]
    rates = era + hourly("BTC", switch, 1000, late_ms=300)
    hole = day("2023-07-02") + 5 * HOUR + 300
    whole = FundingExchange(rates)
    bench.refresh(whole)
    assert bench.missing() == 0
    with bench.database.connection() as connection:
        connection.execute("delete from hl.funding_rate where time = %s", (to_datetime(hole),))
        connection.execute("delete from hl.funding_rate where time = %s", (to_datetime(era[7].time_ms),))
    assert bench.missing() == 2


@pytest.mark.parametrize("late_ms", [-60_000, 0, 900, 1_433_000])
def test_jitter_makes_no_hole(bench: Bench, late_ms: int) -> None:
    rates = [
        rate._replace(time_ms=rate.time_ms + (late_ms if number % 3 == 0 else 0))
        for number, rate in enumerate(hourly("BTC", NOON - 50 * HOUR, 50))
    ]
    bench.refresh(FundingExchange(rates))
    assert (bench.missing(), bench.stored()) == (0, rates)


@pytest.mark.parametrize("column", ["rate", "premium"])
@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_the_table_refuses_what_is_no_number(bench: Bench, column: str, value: str) -> None:
    bench.refresh(FundingExchange(hourly("BTC", NOON, 1)))
    change = {
        "rate": b"update hl.funding_rate set rate = %s::numeric",
        "premium": b"update hl.funding_rate set premium = %s::numeric",
    }
    with pytest.raises(Exception, match="check constraint"), bench.database.connection() as connection:
        connection.execute(change[column], (value,))


@pytest.mark.skipif(not RECORDED.is_file(), reason="the recorded answers are not beside this checkout")
def test_a_recorded_answer_is_stored_to_the_millisecond_and_digit(database: Database) -> None:
    (exchange,) = json.loads(RECORDED.read_text())
    rates, rejected = decode_funding_history(exchange["response"]["body_text"].encode(), "BTC")
    bench = Bench(database, market("BTC"), now_ms=exchange["request"]["body"]["endTime"])
    report = bench.refresh(FundingExchange(rates))
    assert (len(rates), rejected, report.inserted) == (34, [], 34)
    assert bench.stored() == rates
    assert bench.missing() == 0, "it is of the eight-hour era"


def sandbox_truth(world: World, coin: str, now_ms: int) -> list[FundingRate]:
    """Every rate the sandbox ever paid a coin, asked of it without HTTP."""
    rates: list[FundingRate] = []
    spec = world.find(coin, now_ms)
    assert spec is not None
    while page := funding_history(world, spec, rates[-1].time_ms + 1 if rates else 0, now_ms, now_ms):
        rates += [FundingRate(coin, row["time"], row["fundingRate"], row["premium"]) for row in page]
    return rates


def test_over_http_the_sandbox_s_whole_history_arrives(database: Database) -> None:
    now_ms = HOURLY_SINCE_MS + 60 * 24 * HOUR + 250_000
    early = [BTC]
    found = [each.as_market(now_ms) for each in early]
    check_against_sandbox(Bench(database, *found, now_ms=now_ms), World(7, markets=early, clock=ManualClock(now_ms)))


def test_over_http_builder_and_delisted_markets_arrive_too(database: Database) -> None:
    now_ms = day("2026-03-10") + 12 * HOUR + 250_000
    late = [GONE, TSLA]
    found = [each.as_market(now_ms) for each in late]
    check_against_sandbox(Bench(database, *found, now_ms=now_ms), World(7, markets=late, clock=ManualClock(now_ms)))


def check_against_sandbox(bench: Bench, world: World) -> None:
    """Read in small runs over a real socket; the table holds the sandbox's truth, and no hour is missing."""
    with (
        RunningSandbox(world, limiter=LimiterMode.OFF) as sandbox,
        HyperliquidRest(sandbox.url, budget=BudgetBook(), sleep=lambda _: None) as client,
    ):
        while bench.refresh(client, pages=2).unfinished:
            pass
    now_ms = bench.clock.now_ms()
    truth = [rate for coin in sorted(bench.coins) for rate in sandbox_truth(world, coin, now_ms)]
    assert len(truth) > 1000
    assert bench.stored() == truth
    assert bench.missing() == 0


class ManyMarkets:
    """Tracked markets with a rate an hour, read by hourly runs that may spend a hundredth of the weight."""

    HOURLY_WEIGHT = 698

    def __init__(self, database: Database, count: int) -> None:
        self.bench = Bench(database, *(market(f"C{number:03}") for number in range(count)))
        self.exchange = FundingExchange(*(hourly(coin, NOON - 2 * HOUR, 60) for coin in self.bench.coins))
        self.bench.refresh(self.exchange)
        self.exchange.asked.clear()

    def an_hour_later(self) -> tuple[FundingReport, list[str]]:
        """One hourly run; the coins it asked for."""
        self.bench.clock.advance(HOUR)
        before = len(self.exchange.asked)
        report = refresh_funding(
            self.exchange,
            self.bench.database,
            self.bench.clock,
            coins=self.bench.coins,
            hourly_weight=self.HOURLY_WEIGHT,
        )
        return report, [coin for coin, *_ in self.exchange.asked[before:]]

    def oldest_hours(self) -> float:
        """How old the newest rate of the market that is furthest behind is."""
        with self.bench.database.connection() as connection:
            known = funding.progress(connection, self.bench.coins)
        return max(self.bench.clock.now_ms() - (each.newest_ms or 0) for each in known) / HOUR


def test_six_markets_are_read_on_every_hour(database: Database) -> None:
    six = ManyMarkets(database, 6)
    for _ in range(3):
        report, asked = six.an_hour_later()
        assert (sorted(asked), report.put_off) == (six.bench.coins, 0)


def test_fifty_markets_are_read_on_every_second_hour_and_miss_no_rate(database: Database) -> None:
    fifty = ManyMarkets(database, 50)
    times: dict[str, int] = dict.fromkeys(fifty.bench.coins, 0)
    for _ in range(9):
        report, asked = fifty.an_hour_later()
        assert report.weight <= fifty.HOURLY_WEIGHT
        assert fifty.oldest_hours() < 2.1
        for coin in asked:
            times[coin] += 1
    assert {4, 5} == set(times.values())
    assert fifty.bench.missing() == 0


def test_who_missed_a_turn_is_read_within_an_hour(database: Database) -> None:
    fifty = ManyMarkets(database, 50)
    fifty.an_hour_later()
    fifty.bench.clock.advance(HOUR)  # a run that never was
    fifty.an_hour_later()
    assert fifty.oldest_hours() > 3
    fifty.an_hour_later()
    assert fifty.oldest_hours() < 2.1


def test_a_market_that_stands_still_does_not_take_the_turn_of_the_others(database: Database) -> None:
    many = ManyMarkets(database, 70)
    still = set(many.bench.coins[:40])
    many.exchange.rates = [rate for rate in many.exchange.rates if rate.coin not in still or rate.time_ms < NOON + HOUR]
    for _ in range(6):
        many.an_hour_later()
    with database.connection() as connection:
        known = funding.progress(connection, [coin for coin in many.bench.coins if coin not in still])
    assert max(many.bench.clock.now_ms() - (each.newest_ms or 0) for each in known) < 3.1 * HOUR


def test_after_an_outage_a_page_brings_every_rate(database: Database) -> None:
    fifty = ManyMarkets(database, 50)
    fifty.bench.clock.advance(10 * HOUR)
    fifty.an_hour_later()
    fifty.an_hour_later()
    assert fifty.oldest_hours() < 2.1
    assert fifty.bench.missing() == 0
