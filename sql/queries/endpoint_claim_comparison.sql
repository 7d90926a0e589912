-- Takes on to compare the endpoints' candles, when nobody did so lately; a row for whoever got it.
with moment as (select coalesce(%(now)s::timestamptz, clock_timestamp()) as at)

update hl.endpoint as claimed
set compared_at = at, updated_at = clock_timestamp()
from moment
where claimed.url = %(url)s
    and not exists (
        select from hl.endpoint as other
        where other.priority is not null
            and other.url <> claimed.url
            and other.compared_at > at - %(every)s::interval
            and other.compared_at <= at + interval '5 seconds'
    )
    and (claimed.compared_at is null or at >= claimed.compared_at + %(every)s::interval or claimed.compared_at > at + interval '5 seconds')
returning claimed.url;
