-- How many candles of each tracked series look odd: a jump that reverts at once, or a frozen feed?
-- A jump is a close-to-close log return above 15 times the median absolute return, followed by one as large the
-- other way. A frozen feed shows the third (or later) traded row in a row with the very same numbers.
with windowed as (
    select
        candle.series_id,
        candle.open_time,
        ln(candle.close::double precision) - ln(lag(candle.close::double precision) over ordered) as change,
        candle.trades > 0
        and row(candle.open, candle.close, candle.volume, candle.trades)
        = lag(row(candle.open, candle.close, candle.volume, candle.trades)) over ordered
        and row(candle.open, candle.close, candle.volume, candle.trades)
        = lag(row(candle.open, candle.close, candle.volume, candle.trades), 2) over ordered as frozen
    from hl.series
    join hl.market using (market_id)
    -- series by series, by the key's index: joined as a whole, the planner reads a month to find a day
    cross join lateral (
        select series_id, open_time, open, close, volume, trades
        from hl.candle
        where
            series_id = series.series_id
            and open_time >= %(now)s::timestamptz - case
                when series.step <= interval '15 minutes' then interval '24 hours'
                else least(60 * series.step, interval '30 days')
            end
            and finality <> 'o'
            and open_time >= %(now)s::timestamptz - interval '31 days'
            and open_time < %(now)s::timestamptz
        offset 0
    ) as candle
    where market.tracked
    window ordered as (partition by candle.series_id order by candle.open_time)
),

usual as (
    select series_id, percentile_cont(0.5) within group (order by abs(change)) as median_change
    from windowed
    group by series_id
),

judged as (
    select
        windowed.series_id,
        windowed.frozen,
        windowed.change,
        lead(windowed.change) over (partition by windowed.series_id order by windowed.open_time) as next_change,
        15 * usual.median_change as bound
    from windowed
    join usual using (series_id)
)

select
    series_id,
    count(*) filter (
        where frozen or (bound > 0 and abs(change) > bound and abs(next_change) > bound and change * next_change < 0)
    ) as oddities
from judged
group by series_id
having count(*) >= 10
