"""The stream from a socket to tables and ledger: at once provisional, within the hour final, never in the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from hl_pipeline.collect.stream import Streamer, StreamPolicy
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.interval import MINUTE_MS, Interval, to_datetime
from hl_pipeline.storage import series
from hl_pipeline.storage.engine import Database
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
