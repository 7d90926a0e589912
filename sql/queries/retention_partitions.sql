-- Which monthly partitions are there, how large with their indexes, of about how many rows, and does somebody hold a lease on the month?
select
    parent.relname as relation,
    hl.epoch_ms(to_date(right(part.relname, 7), 'YYYY_MM')::timestamp at time zone 'UTC') as month_ms,
    pg_total_relation_size(part.oid) as bytes,
    greatest(part.reltuples, 0)::bigint as rows,
    parent.relname = 'candle' and exists (
        select from hl.lease
        where lease.month = to_date(right(part.relname, 7), 'YYYY_MM') and lease.held_until > clock_timestamp()
    ) as is_worked_on
from pg_inherits
join pg_class as part on part.oid = pg_inherits.inhrelid
join pg_class as parent on parent.oid = pg_inherits.inhparent
where
    pg_inherits.inhparent in ('hl.candle'::regclass, 'hl.market_context'::regclass)
    and part.relname ~ '_[0-9]{4}_[0-9]{2}$'
order by parent.relname, part.relname
