-- How does each endpoint in use stand, the primary first, and what time is it by the clock that they are kept on?
select
    hl.epoch_ms(coalesce(%(now)s::timestamptz, clock_timestamp())) as now_ms,
    url,
    priority,
    state,
    errors,
    reopens,
    coalesce(unsteady_until > coalesce(%(now)s::timestamptz, clock_timestamp()), false) as is_unsteady,
    hl.epoch_ms(opened_at),
    hl.epoch_ms(opened_at + %(open)s::interval) as last_resort_ms,
    hl.epoch_ms(next_probe_at),
    hl.epoch_ms(probe_until),
    hl.epoch_ms(probed_at),
    hl.epoch_ms(answered_at),
    latency_ms::double precision,
    lag_ms,
    candle_lag_ms,
    hl.epoch_ms(disagrees_since),
    last_error,
    failure
from hl.endpoint
where priority is not null
order by priority, url;
