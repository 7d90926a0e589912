-- Which rows are gone from the exchange's answers, so that nobody accepted it and the exchange could still show them?
-- The newest first.
select
    market.coin,
    series.interval,
    hl.epoch_ms(vanished.open_time) as open_ms,
    hl.epoch_ms(vanished.first_absent_at) as first_absent_ms,
    hl.epoch_ms(vanished.last_absent_at) as last_absent_ms,
    vanished.last_absent_fetch as fetch_id,
    vanished.times_absent
from hl.vanished_row as vanished
join hl.series using (series_id)
join hl.market using (market_id)
where
    vanished.seen_again_at is null
    and vanished.accepted_at is null
    and vanished.open_time + %(window_slots)s::integer * series.step > %(now)s
order by vanished.last_absent_at desc, vanished.open_time desc, market.coin, series.interval
