-- An endpoint answered: its errors in a row end; a probe has passed, and the breaker closes after enough of them. An
-- answer that comes while it rests was asked for before, and changes nothing. A health probe brings latency and lag.
with moment as (select coalesce(%(now)s::timestamptz, clock_timestamp()) as at),

breaker as (
    select
        url,
        state,
        state = 'closed' or (state = 'half_open' and successes + 1 >= %(enough)s) as is_closed
    from hl.endpoint
    where url = %(url)s
    for update
)

update hl.endpoint
set state = case when breaker.is_closed then 'closed' else endpoint.state end,
    errors = case when breaker.is_closed then 0 else endpoint.errors end,
    successes = case when endpoint.state = 'half_open' and not breaker.is_closed then endpoint.successes + 1 else 0 end,
    closed_at = case when breaker.is_closed and endpoint.state <> 'closed' then at else endpoint.closed_at end,
    next_probe_at = case when breaker.is_closed then null else endpoint.next_probe_at end,
    probe_until = case when endpoint.state = 'half_open' then null else endpoint.probe_until end,
    answered_at = at,
    probed_at = case when %(latency)s::real is null then endpoint.probed_at else at end,
    latency_ms = coalesce(endpoint.latency_ms * 0.7 + %(latency)s::real * 0.3, %(latency)s::real, endpoint.latency_ms),
    lag_ms = coalesce(%(lag)s::bigint, endpoint.lag_ms),
    updated_at = clock_timestamp()
from moment, breaker
where endpoint.url = breaker.url
returning endpoint.state;
