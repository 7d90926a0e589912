-- An endpoint failed: the breaker opens after enough failures in a row, or when a probe fails. Who opens again soon
-- after closing rests twice as long as before. A failure that comes while it rests was asked for before, and does not
-- lengthen the rest. Failures less than a minute apart add up also when answers come in between: who flaps faster than
-- the breaker opens is asked after the steady ones, until it has not failed for a while.
with moment as (select coalesce(%(now)s::timestamptz, clock_timestamp()) as at),

breaker as (
    select
        endpoint.url,
        case when endpoint.failed_at > moment.at - interval '1 minute' then endpoint.recent_errors else 0 end + 1 as recent,
        endpoint.state = 'half_open' or (endpoint.state = 'closed' and endpoint.errors + 1 >= %(errors_to_open)s) as opens,
        case
            when endpoint.state <> 'closed' then endpoint.reopens
            when endpoint.closed_at > moment.at - %(flap)s::interval then endpoint.reopens + 1
            else 0
        end as reopens
    from hl.endpoint cross join moment
    where endpoint.url = %(url)s
    for update of endpoint
)

update hl.endpoint
set state = case when breaker.opens then 'open' else endpoint.state end,
    errors = endpoint.errors + 1,
    recent_errors = breaker.recent,
    unsteady_until = case
        when breaker.recent >= %(errors_to_open)s or endpoint.unsteady_until > at then at + %(flap)s::interval
        else endpoint.unsteady_until
    end,
    successes = 0,
    reopens = case when breaker.opens then breaker.reopens else endpoint.reopens end,
    opened_at = case when breaker.opens then at else endpoint.opened_at end,
    next_probe_at = case
        when breaker.opens
            then at + least(%(open)s::interval * power(2, least(breaker.reopens, 20)), %(longest)s::interval)
        else endpoint.next_probe_at
    end,
    probe_until = case when breaker.opens then null else endpoint.probe_until end,
    probed_at = case when %(is_probe)s then at else endpoint.probed_at end,
    last_error = %(error)s,
    failure = %(failure)s,
    failed_at = at,
    updated_at = clock_timestamp()
from moment, breaker
where endpoint.url = breaker.url
returning endpoint.state;
