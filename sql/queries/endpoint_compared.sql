-- Keeps what a comparison found out about each endpoint that took part.
with moment as (select coalesce(%(now)s::timestamptz, clock_timestamp()) as at)

update hl.endpoint as compared
set compared_at = at,
    candle_lag_ms = found.lag_ms,
    disagrees_since = case when found.disagrees then coalesce(compared.disagrees_since, at) end,
    updated_at = clock_timestamp()
from moment, unnest(%(urls)s::text[], %(lags)s::bigint[], %(disagree)s::boolean[]) as found (url, lag_ms, disagrees)
where compared.url = found.url;
