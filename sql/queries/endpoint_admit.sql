-- Takes the one probe that a resting endpoint gets when it is due; a row for whoever got it. A probe that nobody
-- reported on is given up after its lease; an instant well in the future was left before the clock was set back.
with moment as (select coalesce(%(now)s::timestamptz, clock_timestamp()) as at)

update hl.endpoint as breaker
set state = 'half_open', probe_until = at + %(lease)s::interval, updated_at = clock_timestamp()
from moment
where breaker.url = %(url)s
    and breaker.state <> 'closed'
    and (breaker.probe_until is null or at >= breaker.probe_until or breaker.probe_until > at + %(lease)s::interval * 2)
    and (
        breaker.state = 'half_open'
        or at >= breaker.next_probe_at
        or (%(last_resort)s and at >= breaker.opened_at + %(open)s::interval)
        or breaker.opened_at > at + interval '5 seconds'
    )
returning breaker.url;
