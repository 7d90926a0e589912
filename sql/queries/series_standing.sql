-- How does each series of the tracked markets stand: how much of what is due is settled or lost, when did its newest
-- closed candle close, is it over, and how far is it trusted?
select
    series.coin,
    series.interval,
    hl.epoch_ms(newest.open_time + series.step) as newest_close_ms,
    coalesce(series.ended_at <= %(now)s::timestamptz, false) as is_over,
    hl.slots_in(series.due, series.step)::bigint as due,
    series.final + series.empty as settled,
    series.lost,
    trust.score,
    trust.grade
from hl.due_and_settled(%(now)s, %(settle)s) as series
left join lateral (
    select candle.open_time
    from hl.candle
    where
        candle.series_id = series.series_id
        and candle.open_time <= %(now)s::timestamptz - series.step
        and candle.finality <> 'o'
    order by candle.open_time desc
    limit 1
) as newest on true
left join lateral (
    select confidence.score, confidence.grade
    from hl.confidence
    where confidence.series_id = series.series_id
    order by confidence.scored_at desc
    limit 1
) as trust on true
order by series.coin, series.step
