-- Takes on to ask a closed endpoint for its clock, when nobody did so lately; a row for whoever got it.
with moment as (select coalesce(%(now)s::timestamptz, clock_timestamp()) as at)

update hl.endpoint as claimed
set probed_at = at, updated_at = clock_timestamp()
from moment
where claimed.url = %(url)s
    and claimed.state = 'closed'
    and (claimed.probed_at is null or at >= claimed.probed_at + %(every)s::interval or claimed.probed_at > at + interval '5 seconds')
returning claimed.url;
