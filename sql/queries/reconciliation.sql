-- How do the candles of 5m to 1d that were read from the venue compare with the exact aggregate of their 1m candles?
-- One row an interval, for closed final candles of the last 36 h (1d: 30 d). Comparable are those whose minutes are all
-- final or proven empty. Minutes without trades count only where none has any. Volume may differ by 1e-9 relative: the
-- venue's strings carry float noise. The newest mismatches are listed with both sides' values.
with pair as materialized (
    select
        market.coin,
        parent.series_id,
        base.series_id as base_id,
        parent.interval,
        parent.step,
        date_bin(
            parent.step,
            %(now)s::timestamptz - case parent.interval when '1d' then interval '30 days' else interval '36 hours' end,
            timestamptz '1970-01-01 00:00:00+00'
        ) as starts
    from hl.market
    join hl.series as parent using (market_id)
    join hl.series as base using (market_id)
    where market.tracked and parent.interval <> '1m' and base.interval = '1m'
),

read as materialized (
    select
        pair.series_id, pair.base_id, pair.coin, pair.interval, pair.step, candle.open_time, candle.source,
        candle.open, candle.high, candle.low, candle.close, candle.volume, candle.trades
    from pair
    join hl.candle on candle.series_id = pair.series_id and candle.open_time >= pair.starts
    where
        candle.finality = 'f'
        and candle.open_time >= %(now)s::timestamptz - interval '31 days'
        and candle.open_time < %(now)s::timestamptz
),

settled as materialized (
    select coverage.series_id as base_id, range_agg(coverage.final + coverage.empty) as slots
    from hl.coverage
    where
        coverage.series_id in (select base_id from pair)
        and coverage.month >= date_trunc('month', %(now)s::timestamptz - interval '31 days')::date
    group by coverage.series_id
),

rolled as materialized (
    select
        pair.series_id,
        date_bin(pair.step, candle.open_time, timestamptz '1970-01-01 00:00:00+00') as open_time,
        (array_agg(candle.open order by candle.trades = 0, candle.open_time))[1] as open,
        coalesce(max(candle.high) filter (where candle.trades > 0), max(candle.high)) as high,
        coalesce(min(candle.low) filter (where candle.trades > 0), min(candle.low)) as low,
        (array_agg(candle.close order by candle.trades = 0, candle.open_time desc))[1] as close,
        sum(candle.volume) as volume,
        sum(candle.trades) as trades
    from pair
    join hl.candle on candle.series_id = pair.base_id and candle.open_time >= pair.starts
    where
        candle.finality = 'f'
        and candle.open_time >= %(now)s::timestamptz - interval '31 days'
        and candle.open_time < %(now)s::timestamptz
    group by pair.series_id, 2
),

judged as materialized (
    select
        read.*,
        rolled.open as made_open, rolled.high as made_high, rolled.low as made_low, rolled.close as made_close,
        coalesce(rolled.volume, 0) as made_volume, coalesce(rolled.trades, 0) as made_trades,
        -- without any minute there is no price to compare with
        coalesce((read.open, read.high, read.low, read.close) <> (rolled.open, rolled.high, rolled.low, rolled.close), false)
        or read.trades <> coalesce(rolled.trades, 0)
        or abs(read.volume - coalesce(rolled.volume, 0)) > 1e-9 * greatest(read.volume, coalesce(rolled.volume, 0))
            as differs
    from read
    join settled using (base_id)
    left join rolled using (series_id, open_time)
    where read.source = 'r' and settled.slots @> tstzrange(read.open_time, read.open_time + read.step)
),

listed as (
    select
        judged.*,
        row_number() over (partition by interval order by open_time desc, coin) as place
    from judged
    where differs
),

sources as (
    select
        interval,
        count(*) filter (where source = 'r') as read,
        count(*) filter (where source = 'd') as derived,
        count(*) filter (where source not in ('r', 'd')) as other
    from read
    group by interval
),

compared as (
    select interval, count(*) as compared, count(*) filter (where differs) as differing
    from judged
    group by interval
),

named as (
    select
        interval,
        jsonb_agg(
            jsonb_build_object(
                'coin', coin,
                'open_ms', hl.epoch_ms(open_time),
                'venue', jsonb_build_array(
                    open::text, high::text, low::text, close::text, volume::text, trades::text
                ),
                'made', jsonb_build_array(
                    made_open::text, made_high::text, made_low::text, made_close::text, made_volume::text,
                    made_trades::text
                )
            ) order by place
        ) as mismatches
    from listed
    where place <= %(shown)s
    group by interval
)

select
    pairs.interval,
    pairs.series,
    coalesce(sources.read, 0) as read,
    coalesce(sources.derived, 0) as derived,
    coalesce(sources.other, 0) as other,
    coalesce(compared.compared, 0) as compared,
    coalesce(compared.differing, 0) as differing,
    coalesce(named.mismatches, '[]') as mismatches
from (select interval, min(step) as step, count(*) as series from pair group by interval) as pairs
left join sources using (interval)
left join compared using (interval)
left join named using (interval)
order by pairs.step
