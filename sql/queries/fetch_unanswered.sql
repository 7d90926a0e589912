-- Did all of the newest candle requests fail, the newest of them lately? Its error then; no row otherwise.
with newest as (
    select fetch_id, status, asked_at, error
    from hl.fetch
    where request_type = 'candleSnapshot' and status <> 'asked'
    order by fetch_id desc
    limit %(count)s
)

select (array_agg(error order by fetch_id desc))[1] as error
from newest
having
    count(*) = %(count)s
    and bool_and(status = 'failed')
    and max(asked_at) > %(now)s::timestamptz - %(lately)s::interval
