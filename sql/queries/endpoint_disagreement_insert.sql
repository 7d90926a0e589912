-- Keeps closed candles of which two endpoints said different things, with both values.
insert into hl.endpoint_disagreement
    (seen_at, primary_url, other_url, coin, interval, open_time, primary_candle, other_candle)
select %(seen_at)s, %(primary)s, %(other)s, %(coin)s, %(interval)s, found.open_time, found.ours, found.theirs
from unnest(%(open_times)s::timestamptz[], %(ours)s::jsonb[], %(theirs)s::jsonb[]) as found (open_time, ours, theirs);
