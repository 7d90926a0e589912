"""The stream from a socket to tables and ledger: at once provisional, within the hour final, never in the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hl_pipeline.collect.stream import Streamer, StreamPolicy
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.failure import AlreadyRunning
from hl_pipeline.model.interval import MINUTE_MS, Interval, to_datetime
from hl_pipeline.storage import series
from hl_pipeline.storage.embedded import EmbeddedPostgres
from hl_pipeline.storage.engine import Database
from hl_pipeline.storage.migrations import migrate
from hl_pipeline_tests.source.talker import Talker, candle_text, until

#: 2026-07-26T12:00:00Z
T0 = 1_785_067_200_000


def track(database: Database, *coins: str, known_ms: int = T0) -> None:
    """Tracked markets with all series, everything before ``known_ms`` settled long ago."""
    with database.connection() as connection:
        connection.execute(
            "insert into hl.market (coin, kind, sz_decimals, tracked, first_seen, last_seen)"
            " select coin, 'perp', 2, true, now(), now() from unnest(%s::text[]) as coin",
            (list(coins),),
        )
        series.ensure(connection, tuple(Interval), known_ms)
        connection.execute(
            "update hl.series set tracked_from = date_bin('1 day', %(known)s, 'epoch') - interval '2 days',"
            " known_until = date_bin(step, %(known)s, 'epoch')",
            {"known": to_datetime(known_ms)},
        )
        connection.execute(
            "insert into hl.coverage (series_id, month, lost) select series_id, '2026-07-01',"
            " tstzmultirange(tstzrange(tracked_from, known_until)) from hl.series on conflict do nothing"
        )


def stored(database: Database, coin: str = "BTC", interval: Interval = Interval.M1) -> list[tuple[int, int, str, str]]:
    """Minutes since T0, trades, source and finality of a series' candles."""
    with database.connection() as connection:
        return [
            ((row[0] - T0) // MINUTE_MS, *row[1:])
            for row in connection.execute(
                "select hl.epoch_ms(open_time), trades, source, finality from hl.candles"
                " where coin = %s and interval = %s order by open_time",
                (coin, str(interval)),
            )
        ]


def said(database: Database, column: str) -> list[object]:
    """What the sockets say of themselves."""
    with database.connection() as connection:
        rows = connection.execute(b"select to_jsonb(stream)->%s from hl.stream order by socket", (column,))
        return [row[0] for row in rows]


def process(database: Database, column: str) -> object:
    """What the stream's process says of itself."""
    with database.connection() as connection:
        row = connection.execute(b"select to_jsonb(stream_process)->%s from hl.stream_process", (column,)).fetchone()
        return None if row is None else row[0]


def known_until(database: Database, coin: str = "BTC") -> int:
    """Up to where the ledger speaks of a 1m series, in minutes since T0."""
    with database.connection() as connection:
        row = connection.execute(
            "select hl.epoch_ms(known_until) from hl.series join hl.market using (market_id)"
            " where coin = %s and interval = '1m'",
            (coin,),
        ).fetchone()
        assert row is not None
        return (int(row[0]) - T0) // MINUTE_MS


@asynccontextmanager
async def streaming(
    talker: Talker, database: Database, clock: ManualClock, **changes: object
) -> AsyncIterator[Streamer]:
    """A streamer at work, its sockets subscribed; it is stopped at the end."""
    streamer = Streamer(
        [talker.url],
        database,
        clock,
        StreamPolicy(flush_s=0.01, report_s=0.01, **changes),  # type: ignore[arg-type]
    )
    stop = asyncio.Event()
    task = asyncio.create_task(streamer.run(stop))
    try:
        await until(lambda: task.done() or "connected" in said(database, "state"))
        yield streamer
    finally:
        stop.set()
        await task


async def becomes(look: Callable[[], object], expected: object) -> None:
    """Wait until ``look`` shows what is expected; else say what it shows."""
    try:
        await until(lambda: look() == expected)
    except TimeoutError:
        assert look() == expected
        raise


@pytest.mark.parametrize(
    "open_ms",
    [0, T0 - 24 * 60 * MINUTE_MS, T0 - 20 * MINUTE_MS, T0 + 2 * MINUTE_MS, T0 + 3_000_000 * MINUTE_MS],
)
def test_a_candle_that_cannot_be_of_this_moment_is_refused(database: Database, open_ms: int) -> None:
    track(database, "BTC")
    clock = ManualClock(T0 + 30_000)

    async def run() -> None:
        with Talker() as talker:
            async with streaming(talker, database, clock):
                talker.say(candle_text(open_ms, trades=9), candle_text(T0, trades=3))
                await becomes(lambda: stored(database), [(0, 3, "stream", "open")])
                await becomes(lambda: said(database, "rejected"), [1])

    asyncio.run(run())
    assert stored(database) == [(0, 3, "stream", "open")]


def gaps(database: Database, interval: Interval = Interval.M1) -> list[tuple[int, int, str]]:
    """Unsettled runs of slots: begin and end in minutes since T0, and why."""
    with database.connection() as connection:
        return [
            ((start - T0) // MINUTE_MS, (end - T0) // MINUTE_MS, reason)
            for start, end, reason in connection.execute(
                "select hl.epoch_ms(lower(slots)), hl.epoch_ms(upper(slots)), reason from hl.gap"
                " join hl.series using (series_id) where interval = %s order by series_id, slots",
                (str(interval),),
            )
        ]


def test_a_candle_is_provisional_once_the_clock_has_passed_its_end_or_a_later_one_is_seen(database: Database) -> None:
    track(database, "BTC")
    clock = ManualClock(T0 + 30_000)

    async def run() -> None:
        with Talker() as talker:
            async with streaming(talker, database, clock) as streamer:
                talker.say(candle_text(T0, trades=3))
                await becomes(lambda: stored(database), [(0, 3, "stream", "open")])
                clock.set(T0 + MINUTE_MS + 1_000)
                await becomes(lambda: stored(database), [(0, 3, "stream", "provisional")])
                talker.say(candle_text(T0, trades=4), candle_text(T0 + MINUTE_MS, trades=1))
                talker.say(candle_text(T0 + 2 * MINUTE_MS, trades=2))
                expected = [(0, 4, "stream", "provisional"), (1, 1, "stream", "provisional"), (2, 2, "stream", "open")]
                await becomes(lambda: stored(database), expected)
                assert streamer.stats.closed == 3

    asyncio.run(run())


def test_what_was_watched_waits_in_the_ledger_and_larger_candles_are_provisional_at_their_close(
    database: Database,
) -> None:
    track(database, "BTC")
    clock = ManualClock(T0 - 20_000)

    async def run() -> None:
        with Talker() as talker:
            async with streaming(talker, database, clock):
                for minute in range(6):
                    clock.set(T0 + minute * MINUTE_MS + 2_000)
                    talker.say(candle_text(T0 + minute * MINUTE_MS, trades=minute + 1))
                    seen = minute
                    await becomes(lambda seen=seen: gaps(database), [(0, seen, "provisional")] if seen else [])  # type: ignore[misc]
                await becomes(lambda: stored(database, "BTC", Interval.M5), [(0, 15, "derived", "provisional")])
                assert gaps(database, Interval.M5) == [(0, 5, "provisional")]
                for larger in (Interval.M15, Interval.H1, Interval.H4, Interval.D1):
                    assert [row[1:] for row in stored(database, "BTC", larger)] == [(15, "derived", "open")]

    asyncio.run(run())


def test_stopping_lands_what_waits_and_says_so(database: Database) -> None:
    track(database, "BTC", "ETH")
    clock = ManualClock(T0 + 30_000)

    async def run() -> None:
        with Talker() as talker:
            async with streaming(talker, database, clock) as streamer:
                talker.say(candle_text(T0, trades=3))
                await becomes(lambda: stored(database), [(0, 3, "stream", "open")])
                # too soon for an open candle's pace; what comes after it on the same socket shows that it was taken in
                talker.say(candle_text(T0, trades=8), candle_text(T0, "ETH"))
                await becomes(lambda: stored(database, "ETH"), [(0, 7, "stream", "open")])
                clock.set(T0 + MINUTE_MS + 1_000)
            assert streamer.stats.database_failures == 0

    asyncio.run(run())
    assert stored(database) == [(0, 8, "stream", "provisional")]
    assert said(database, "state") == ["stopped"]


def test_a_second_process_is_refused_and_the_first_one_goes_on(database: Database) -> None:
    track(database, "BTC")
    clock = ManualClock(T0 + 30_000)

    async def run() -> None:
        with Talker() as talker:
            async with streaming(talker, database, clock):
                with pytest.raises(AlreadyRunning, match="stop that one first"):
                    await Streamer([talker.url], database, clock).run(asyncio.Event())
                talker.say(candle_text(T0))
                await becomes(lambda: stored(database), [(0, 7, "stream", "open")])
            async with streaming(talker, database, clock):
                pass

    asyncio.run(run())


def coins_wanted(talker: Talker) -> set[str]:
    """The markets whose candles a talker is to send."""
    wanted: set[str] = set()
    for message in talker.heard:
        subscription = message.get("subscription", {})
        if subscription.get("type") == "candle":
            (wanted.add if message["method"] == "subscribe" else wanted.discard)(subscription["coin"])
    return wanted


def test_a_market_that_begins_to_be_tracked_is_followed_and_one_that_is_delisted_given_up(database: Database) -> None:
    track(database, "BTC", "OLD")
    clock = ManualClock(T0 + 30_000)

    async def run() -> None:
        with Talker() as talker:
            async with streaming(talker, database, clock):
                assert coins_wanted(talker) == {"BTC", "OLD"}
                track(database, "NEW")
                with database.connection() as connection:
                    connection.execute("update hl.market set is_delisted = true where coin = 'OLD'")
                clock.advance(MINUTE_MS)
                await becomes(lambda: coins_wanted(talker), {"BTC", "NEW"})
                await becomes(lambda: said(database, "subscriptions"), [5])
                talker.say(candle_text(T0 + MINUTE_MS, "NEW", trades=5), candle_text(T0 + MINUTE_MS, "OLD"))
                await becomes(lambda: stored(database, "NEW"), [(1, 5, "stream", "open")])

    asyncio.run(run())
    assert stored(database, "OLD") == []


def test_while_the_table_is_locked_frames_are_received_and_land_afterwards(database: Database) -> None:
    track(database, "BTC")
    clock = ManualClock(T0 + 30_000)
    hasty = Database(database.libpq_url, lock_timeout_ms=50)

    async def run() -> None:
        with Talker() as talker, hasty:
            async with streaming(talker, hasty, clock) as streamer:
                with database.connection() as connection:
                    connection.execute("lock table hl.candle in access exclusive mode")
                    talker.say(candle_text(T0, trades=3))
                    await until(lambda: streamer.stats.database_failures > 1)
                    clock.set(T0 + 2 * MINUTE_MS + 1_000)
                    talker.say(candle_text(T0, trades=4), candle_text(T0 + MINUTE_MS, trades=1))
                expected = [(0, 4, "stream", "provisional"), (1, 1, "stream", "provisional")]
                await becomes(lambda: stored(database), expected)

    asyncio.run(run())


def test_while_the_database_is_down_what_waits_is_bounded_and_what_was_dropped_is_left_to_rest(tmp_path: Path) -> None:
    clock = ManualClock(T0 - 20_000)
    server = EmbeddedPostgres(tmp_path)

    async def run(url: str) -> None:
        with Talker() as talker, Database(url, connect_timeout_seconds=1) as database:
            track(database, "BTC")
            async with streaming(talker, database, clock, most_waiting=3) as streamer:
                talker.say(candle_text(T0 - MINUTE_MS, trades=3))
                await becomes(lambda: stored(database), [(-1, 3, "stream", "open")])
                await asyncio.to_thread(server.stop)
                for minute in range(6):
                    clock.set(T0 + minute * MINUTE_MS + 2_000)
                    talker.say(candle_text(T0 + minute * MINUTE_MS, trades=minute + 1))
                    failures = streamer.stats.database_failures
                    await until(lambda failures=failures: streamer.stats.database_failures > failures)  # type: ignore[misc]
                await asyncio.to_thread(server.start)
                await becomes(lambda: [row[0] for row in stored(database)], [-1, 3, 4, 5])
                await becomes(lambda: process(database, "overflowed"), 4)
                assert gaps(database) == []
                assert known_until(database) == 0
                # the place went with the session that held it; another process must not get it
                with pytest.raises(AlreadyRunning):
                    await Streamer([talker.url], database, clock).run(asyncio.Event())
            assert said(database, "state") == ["stopped"]

    try:
        url = server.start().dsn("postgres")
        migrate(url)
        asyncio.run(run(url))
    finally:
        server.stop()


def test_of_a_market_that_comes_later_no_minute_counts_as_watched_before_it_was_followed(database: Database) -> None:
    track(database, "BTC")
    clock = ManualClock(T0 - 20_000)

    async def run() -> None:
        with Talker() as talker:

            async def minute(number: int) -> None:
                clock.set(T0 + number * MINUTE_MS + 2_000)
                talker.say(candle_text(T0 + number * MINUTE_MS))
                await becomes(lambda: known_until(database), number)

            async with streaming(talker, database, clock):
                for number in range(3):
                    await minute(number)
                track(database, "NEW", known_ms=T0 + 2 * MINUTE_MS)
                await minute(3)
                await becomes(lambda: coins_wanted(talker), {"BTC", "NEW"})
                await minute(4)
                await minute(5)
                assert known_until(database, "NEW") == 2, "REST has to read what nobody watched"
                with database.connection() as connection:
                    connection.execute(
                        "update hl.series set known_until = %s from hl.market"
                        " where market.market_id = series.market_id and coin = 'NEW' and interval = '1m'",
                        (to_datetime(T0 + 5 * MINUTE_MS),),
                    )
                await minute(6)
                await becomes(lambda: known_until(database, "NEW"), 6)

    asyncio.run(run())


def test_a_market_that_falls_silent_on_a_socket_that_speaks_is_left_to_rest_until_it_speaks_again(
    database: Database,
) -> None:
    track(database, "BTC", "ETH")
    clock = ManualClock(T0 - 20_000)

    async def run() -> None:
        with Talker() as talker:

            async def minute(number: int, *coins: str) -> None:
                clock.set(T0 + number * MINUTE_MS + 2_000)
                for coin in coins:
                    talker.say(candle_text(T0 + number * MINUTE_MS, coin=coin))
                await becomes(lambda: known_until(database), number)

            async with streaming(talker, database, clock) as streamer:
                for number in range(3):
                    await minute(number, "ETH", "BTC")
                await becomes(lambda: known_until(database, "ETH"), 2)
                for number in range(3, 8):
                    await minute(number, "BTC")
                assert known_until(database, "ETH") == 5, "beyond three silent minutes nothing was watched"
                await minute(8, "ETH", "BTC")
                await minute(9, "ETH", "BTC")
                assert known_until(database, "ETH") == 5
                assert streamer.stats.silent_markets == 1
                with database.connection() as connection:
                    connection.execute(
                        "update hl.series set known_until = %s from hl.market"
                        " where market.market_id = series.market_id and coin = 'ETH' and interval = '1m'",
                        (to_datetime(T0 + 9 * MINUTE_MS),),
                    )
                await minute(10, "ETH", "BTC")
                await becomes(lambda: known_until(database, "ETH"), 10)

    asyncio.run(run())
