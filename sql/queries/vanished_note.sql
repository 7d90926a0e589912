-- Which stored final candles, read from the venue before, does this answer not hold though rows stand on both sides of
-- them? Remembers each; the candle stays as it is.
insert into hl.vanished_row as known (
    series_id, open_time, first_absent_at, first_absent_fetch, last_absent_at, last_absent_fetch
)
select candle.series_id, candle.open_time, %(asked_at)s, %(fetch_id)s, %(asked_at)s, %(fetch_id)s
from hl.candle
where
    candle.series_id = %(series_id)s
    and candle.open_time > %(first)s and candle.open_time < %(last)s
    and candle.open_time <@ %(holes)s::tstzmultirange
    and candle.finality = 'f' and candle.source = 'r' and candle.fetch_id < %(fetch_id)s
on conflict (series_id, open_time) do update
set
    first_absent_at = case when known.seen_again_at is null then known.first_absent_at else excluded.first_absent_at end,
    first_absent_fetch = case
        when known.seen_again_at is null then known.first_absent_fetch else excluded.first_absent_fetch
    end,
    accepted_at = case when known.seen_again_at is null then known.accepted_at end,
    seen_again_at = null,
    last_absent_at = excluded.last_absent_at,
    last_absent_fetch = excluded.last_absent_fetch,
    times_absent = known.times_absent + 1
where known.last_absent_fetch < excluded.last_absent_fetch
