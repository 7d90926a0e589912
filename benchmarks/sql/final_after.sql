-- How long after its close was a traded 1m candle final, at most and in the median? Of the slots that opened in a span, in
-- seconds; and how many are not final.
select
    extract(epoch from max(answer.asked_at - candle.open_time) - interval '1 minute')::double precision,
    extract(
        epoch from percentile_cont(0.5) within group (order by answer.asked_at - candle.open_time) - interval '1 minute'
    )::double precision,
    count(*) filter (where candle.finality <> 'f')
from hl.candle
join hl.series using (series_id)
join hl.fetch as answer using (fetch_id)
where series.interval = '1m'
    and candle.trades > 0
    and candle.open_time >= %(starts)s
    and candle.open_time < %(ends)s
