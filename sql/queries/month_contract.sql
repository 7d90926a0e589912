-- Which final candles of some markets' months break the contract, and does the ledger count them all?
-- One row a market and month: how many final rows there are, how many final slots the ledger speaks of (less those
-- exported and dropped), how many rows break which rule, and the first ten of those as text.
with wanted as (
    select market.coin, series.series_id, series.step, month as starts, month + interval '1 month' as ends
    from hl.market
    join hl.series on series.market_id = market.market_id and series.interval = %(interval)s
    cross join unnest(%(months)s::timestamptz[]) as month
    where market.coin = any(%(coins)s::text[])
),

judged as (
    select
        wanted.coin,
        wanted.starts,
        candle.open_time,
        candle.open_time
        <> date_bin(wanted.step, candle.open_time, timestamptz '1970-01-01 00:00:00+00') as off_grid,
        candle.low > least(candle.open, candle.close) or candle.high < greatest(candle.open, candle.close)
        or candle.low <= 0 as disordered,
        candle.volume < 0 or (candle.trades > 0) <> (candle.volume > 0) as untraded,
        candle.open_time + wanted.step > %(now)s::timestamptz as unclosed
    from wanted
    join hl.candle
        on
            candle.series_id = wanted.series_id
            and candle.open_time >= wanted.starts
            and candle.open_time < wanted.ends
            and candle.finality = 'f'
),

counted as (
    select
        judged.coin,
        judged.starts,
        count(*) as rows,
        count(*) filter (where judged.off_grid) as off_grid,
        count(*) filter (where judged.disordered) as disordered,
        count(*) filter (where judged.untraded) as untraded,
        count(*) filter (where judged.unclosed) as unclosed,
        (array_agg(judged.open_time order by judged.open_time) filter (
            where judged.off_grid or judged.disordered or judged.untraded or judged.unclosed
        ))[1:10] as sample
    from judged
    group by judged.coin, judged.starts
)

select
    wanted.coin,
    hl.epoch_ms(wanted.starts) as month_ms,
    coalesce(counted.rows, 0) as rows,
    coalesce(hl.slots_in(coverage.final - coalesce(exported.slots, '{}'), wanted.step), 0) as final_slots,
    coalesce(counted.off_grid, 0) as off_grid,
    coalesce(counted.disordered, 0) as disordered,
    coalesce(counted.untraded, 0) as untraded,
    coalesce(counted.unclosed, 0) as unclosed,
    (
        select coalesce(array_agg(hl.epoch_ms(at) order by at), '{}')
        from unnest(counted.sample) as at
    ) as sample
from wanted
left join counted using (coin, starts)
left join hl.coverage
    on
        coverage.series_id = wanted.series_id
        and coverage.month = (wanted.starts at time zone 'UTC')::date
left join hl.exported_slots as exported
    on exported.series_id = coverage.series_id and exported.month = coverage.month
order by wanted.coin, wanted.starts
