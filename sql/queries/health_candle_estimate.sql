-- About how many candles are stored? The planner's figure; a partition never analysed counts as none.
select coalesce(sum(greatest(pg_class.reltuples, 0)), 0)::bigint
from pg_inherits
join pg_class on pg_class.oid = pg_inherits.inhrelid
where pg_inherits.inhparent = 'hl.candle'::regclass
