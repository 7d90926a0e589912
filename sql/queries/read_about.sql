-- What must a reader know of a series before trusting its candles in a window: does it exist, is it still collected, how
-- new is its newest closed candle, how far is it trusted, which of the window's slots are due, how many of them are
-- proven empty, how many exported to a file?
-- No row for a coin that the exchange never named; series_id null where the coin is not collected at the interval.
select
    series.series_id,
    market.tracked and not market.is_delisted and series.ended_at is null as is_live,
    hl.epoch_ms(series.known_until) as known_until_ms,
    hl.epoch_ms(newest.closed_at) as newest_close_ms,
    scored.score,
    scored.grade,
    hl.epoch_ms(scored.scored_at) as scored_ms,
    hl.epoch_ms(lower(due.slots)) as due_from_ms,
    hl.epoch_ms(upper(due.slots)) as due_until_ms,
    coalesce(hl.slots_in(proven.empty * tstzmultirange(due.slots), series.step), 0) as empty,
    coalesce(hl.slots_in(away.slots * tstzmultirange(due.slots), series.step), 0) as exported
from hl.market
left join hl.series on series.market_id = market.market_id and series.interval = %(interval)s
left join lateral (
    select candle.open_time + series.step as closed_at
    from hl.candle
    where
        candle.series_id = series.series_id
        and candle.open_time <= %(now)s::timestamptz - series.step
        and candle.finality <> 'o'
    order by candle.open_time desc
    limit 1
) as newest on true
left join lateral (
    select confidence.score, confidence.grade, confidence.scored_at
    from hl.confidence
    where confidence.series_id = series.series_id
    order by confidence.scored_at desc
    limit 1
) as scored on true
cross join lateral (
    select
        greatest(%(starts)s::timestamptz, coalesce(series.first_open, series.tracked_from)) as starts,
        least(%(ends)s::timestamptz, %(settled_until)s::timestamptz, series.ended_at) as ends
) as reach
cross join lateral (
    select case when reach.starts < reach.ends then tstzrange(reach.starts, reach.ends) end as slots
) as due
left join lateral (
    select range_agg(coverage.empty) as empty
    from hl.coverage
    where
        coverage.series_id = series.series_id
        and coverage.empty <> '{}'
        and coverage.month >= date_trunc('month', reach.starts)
        and coverage.month < reach.ends
) as proven on true
left join lateral (
    select range_agg(exported.slots) as slots
    from hl.exported_slots as exported
    where
        exported.series_id = series.series_id
        and exported.month >= date_trunc('month', reach.starts)
        and exported.month < reach.ends
) as away on true
where market.coin = %(coin)s
