-- The newest of everything, ready to read: one row per tracked market and metric, in long format.
-- No now() anywhere: each number is as of the newest data's own time, so simulated clocks work. "Closed" means a row
-- whose finality is not open. The base series of a market is its shortest interval that has candles.
-- last, change_24h, volume_24h: of the base series. change_24h is the ratio of the last close to the close 24 h
-- before, less one. volume_24h is in coins over the 24 h that end with the last candle; volume_24h_notional is the
-- exchange's own figure. volatility is the standard deviation of the log returns of the last 24 h of 1h closes (at
-- least 12 of them), annualised by sqrt(24 * 365). close_<interval> is the newest closed candle's close, as of the
-- time it closed. confidence is the newest score of the series a number comes from; the numbers of the exchange's
-- context (mark, oracle, mid, funding, open interest) take the base series', whose agreement is measured with them.
create materialized view hl.latest_metrics as
with newest as materialized (
    select
        market.market_id,
        market.coin,
        series.series_id,
        series.interval,
        series.step,
        candle.open_time,
        candle.close,
        row_number() over (partition by market.market_id order by series.step) = 1 as is_base,
        scored.score as confidence,
        scored.grade
    from hl.market
    join hl.series using (market_id)
    cross join lateral (
        select row.open_time, row.close
        from hl.candle as row
        where row.series_id = series.series_id and row.finality <> 'o'
        order by row.open_time desc
        limit 1
    ) as candle
    left join lateral (
        select confidence.score, confidence.grade
        from hl.confidence
        where confidence.series_id = series.series_id
        order by confidence.scored_at desc
        limit 1
    ) as scored on true
    where market.tracked
),

base as (select * from newest where is_base),

day as (
    select
        base.market_id,
        base.close / before.close - 1 as change,
        traded.volume
    from base
    left join lateral (
        select candle.close
        from hl.candle
        where
            candle.series_id = base.series_id
            and candle.open_time <= base.open_time - interval '24 hours'
            and candle.open_time > base.open_time - interval '25 hours' - base.step
        order by candle.open_time desc
        limit 1
    ) as before on true
    cross join lateral (
        select sum(candle.volume) as volume
        from hl.candle
        where
            candle.series_id = base.series_id
            and candle.open_time > base.open_time - interval '24 hours'
            and candle.open_time <= base.open_time
    ) as traded
),

hourly as (
    select newest.*, spread.volatility, spread.returns
    from newest
    cross join lateral (
        select (stddev_samp(step.change) * sqrt(24 * 365))::numeric as volatility, count(step.change) as returns
        from (
            select ln(candle.close::double precision) - ln(lag(candle.close::double precision) over ordered) as change
            from hl.candle
            where
                candle.series_id = newest.series_id
                and candle.open_time >= newest.open_time - interval '24 hours'
                and candle.open_time <= newest.open_time
            window ordered as (order by candle.open_time)
        ) as step
    ) as spread
    where newest.interval = '1h'
),

quoted as (
    select market.market_id, market.coin, context.*
    from hl.market
    cross join lateral (
        select
            row.seen_at, row.mark_price, row.oracle_price, row.mid_price, row.funding, row.open_interest,
            row.day_notional_volume
        from hl.market_context as row
        where row.market_id = market.market_id
        order by row.seen_at desc
        limit 1
    ) as context
    where market.tracked
)

select
    base.coin, fact.metric, fact.value, fact.unit, base.open_time + base.step as as_of, base.interval as source,
    base.confidence, base.grade
from base
join day using (market_id)
cross join lateral (
    values
        ('last', base.close, 'quote'),
        ('change_24h', day.change, 'ratio'),
        ('volume_24h', day.volume, 'base')
) as fact (metric, value, unit)
where fact.value is not null

union all

select
    newest.coin, 'close_' || newest.interval, newest.close, 'quote', newest.open_time + newest.step, newest.interval,
    newest.confidence, newest.grade
from newest

union all

select
    hourly.coin, 'volatility', hourly.volatility, 'per year', hourly.open_time + hourly.step, hourly.interval,
    hourly.confidence, hourly.grade
from hourly
where hourly.returns >= 12

union all

select
    quoted.coin, fact.metric, fact.value, fact.unit, quoted.seen_at, 'context', base.confidence, base.grade
from quoted
left join base using (market_id)
cross join lateral (
    values
        ('mark', quoted.mark_price, 'quote'),
        ('oracle', quoted.oracle_price, 'quote'),
        ('mid', quoted.mid_price, 'quote'),
        ('funding', quoted.funding, 'per hour'),
        ('open_interest', quoted.open_interest, 'base'),
        ('volume_24h_notional', quoted.day_notional_volume, 'quote')
) as fact (metric, value, unit)
where fact.value is not null
with data;

-- what REFRESH ... CONCURRENTLY needs
create unique index latest_metrics_coin_metric on hl.latest_metrics (coin, metric);

-- Readers see the metrics with the owner's rights; the materialized view itself stays hidden from them.
create view hl.latest as
select coin, metric, value, unit, as_of, source, confidence, grade from hl.latest_metrics;
