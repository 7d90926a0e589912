"""Fills the tables by plain SQL: tracked markets with whole histories, for tests that only read."""

from __future__ import annotations

from hl_pipeline.model.interval import Interval, to_datetime
from hl_pipeline.storage.engine import Connection

#: 2026-03-02 12:00:20 UTC: twenty seconds after every interval up to 4h closed a slot.
NOW_MS = 1_772_452_820_000

PARTITIONS = """
select hl.ensure_partitions(parent, %(now)s::timestamptz - interval '40 days', %(now)s::timestamptz + interval '1 day')
from unnest(array['candle', 'market_context']) as parent
"""
MARKETS = """
insert into hl.market (coin, kind, sz_decimals, tracked, first_seen, last_seen)
select coin, 'perp', 3, true, %(now)s::timestamptz - interval '40 days', %(now)s from unnest(%(coins)s::text[]) as coin
"""
SERIES = """
insert into hl.series (market_id, interval, step, tracked_from, known_until)
select
    market_id, name, step,
    date_bin(step, %(now)s::timestamptz
        - case name when '1m' then interval '2 days' else interval '30 days' end, 'epoch'),
    date_bin(step, %(now)s::timestamptz, 'epoch')
from hl.market
cross join (
    values ('1m', interval '1 minute'), ('5m', interval '5 minutes'), ('15m', interval '15 minutes'),
        ('1h', interval '1 hour'), ('4h', interval '4 hours'), ('1d', interval '1 day')
) as length (name, step)
where market.coin = any(%(coins)s)
"""
CANDLES = """
with minute as (
    select
        at,
        100 + (extract(epoch from at)::bigint / 60 * 7919 %% 101) * 0.001 as open,
        100 + ((extract(epoch from at)::bigint / 60 + 1) * 7919 %% 101) * 0.001 as close
    from generate_series(
        date_bin('1 day', %(now)s::timestamptz - interval '30 days', 'epoch'),
        date_bin('1 minute', %(now)s::timestamptz, 'epoch') - interval '1 minute', interval '1 minute'
    ) as at
),
length as (select distinct interval, step from hl.series),
rolled as (
    select
        length.interval, date_bin(length.step, at, 'epoch') as open_time,
        (array_agg(open order by at))[1] as open, max(greatest(open, close)) as high,
        min(least(open, close)) as low, (array_agg(close order by at desc))[1] as close,
        count(*) * 1.5 as volume, count(*) * 3 as trades
    from minute cross join length
    where length.interval <> '1m' or at >= %(now)s::timestamptz - interval '2 days'
    group by 1, 2
)
insert into hl.candle
select series_id, open_time, open, high, low, close, volume, trades, 1, 'r', 'f'
from rolled
join hl.series using (interval)
join hl.market using (market_id)
where coin = any(%(coins)s) and open_time >= tracked_from and open_time + step <= %(now)s
"""
COVERAGE = """
insert into hl.coverage (series_id, month, final)
select series_id, date_trunc('month', open_time)::date, range_agg(tstzrange(open_time, open_time + step))
from hl.candle join hl.series using (series_id) join hl.market using (market_id)
where coin = any(%(coins)s)
group by 1, 2
"""
CONTEXTS = """
insert into hl.market_context (
    market_id, seen_at, mark_price, oracle_price, mid_price, funding, open_interest, day_notional_volume, fetch_id
)
select market_id, %(now)s, 100.05, 100.04, 100.06, 0.0000125, 12.5, 216000, 1
from hl.market where coin = any(%(coins)s)
"""


def fill(connection: Connection, coins: list[str], *, now_ms: int = NOW_MS) -> None:
    """Every closed slot of the last 30 days of each coin (1m: 2 days), final; parents equal their children."""
    parameters = {"coins": coins, "now": to_datetime(now_ms)}
    for statement in (PARTITIONS, MARKETS, SERIES, CANDLES, COVERAGE, CONTEXTS):
        connection.execute(statement, parameters)


def series_id(connection: Connection, coin: str, interval: Interval) -> int:
    row = connection.execute(
        "select series_id from hl.series join hl.market using (market_id) where coin = %s and interval = %s",
        (coin, str(interval)),
    ).fetchone()
    assert row is not None
    return int(row[0])
