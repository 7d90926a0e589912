-- How many candles differ from the exact aggregate of the next smaller interval's candles?
-- Only parents and children read from the venue as final are compared, and only where every child is stored.
-- Children without trades do not count. Volume may differ by 1e-9 relative: the venue's strings carry float noise.
with pair as (
    select parent.series_id, parent.step, child.series_id as child_id, child.step as child_step, market.coin
    from hl.market
    join hl.series as parent using (market_id)
    join hl.series as child using (market_id)
    join (
        values ('5m', '1m'), ('15m', '5m'), ('1h', '15m'), ('4h', '1h'), ('1d', '4h')
    ) as ladder (interval, child_interval)
        on ladder.interval = parent.interval and ladder.child_interval = child.interval
    where market.tracked
),

rolled as (
    select
        pair.series_id,
        date_bin(pair.step, candle.open_time, timestamptz '1970-01-01 00:00:00+00') as open_time,
        count(*) as children,
        max(candle.open) filter (
            where candle.open_time = date_bin(pair.step, candle.open_time, timestamptz '1970-01-01 00:00:00+00')
            and candle.trades > 0
        ) as open,
        max(candle.high) filter (where candle.trades > 0) as high,
        min(candle.low) filter (where candle.trades > 0) as low,
        max(candle.close) filter (
            where candle.open_time + pair.child_step
            = date_bin(pair.step, candle.open_time, timestamptz '1970-01-01 00:00:00+00') + pair.step
            and candle.trades > 0
        ) as close,
        sum(candle.volume) as volume,
        sum(candle.trades) as trades
    from pair
    join hl.candle
        on candle.series_id = pair.child_id
        and candle.open_time >= %(now)s::timestamptz - case
            when pair.step <= interval '15 minutes' then interval '24 hours'
            else least(60 * pair.step, interval '30 days')
        end
    where
        candle.finality = 'f'
        and candle.source = 'r'
        and candle.open_time >= %(now)s::timestamptz - interval '31 days'
        and candle.open_time < %(now)s::timestamptz
    group by pair.series_id, 2
)

select
    pair.series_id,
    count(*) as compared,
    count(*) filter (
        where parent.open <> rolled.open
        or parent.high <> rolled.high
        or parent.low <> rolled.low
        or parent.close <> rolled.close
        or parent.trades <> rolled.trades
        or abs(parent.volume - rolled.volume) > 1e-9 * greatest(parent.volume, rolled.volume)
    ) as differing
from rolled
join pair using (series_id)
join hl.candle as parent on parent.series_id = rolled.series_id and parent.open_time = rolled.open_time
where
    rolled.children = extract(epoch from pair.step) / extract(epoch from pair.child_step)
    and parent.finality = 'f'
    and parent.source = 'r'
    and parent.open_time >= %(now)s::timestamptz - interval '31 days'
    and parent.open_time < %(now)s::timestamptz
group by pair.series_id
