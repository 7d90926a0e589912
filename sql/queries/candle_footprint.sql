-- How many rows do the candle partitions hold, and on how many bytes, with indexes and TOAST? By the planner's figures:
-- a partition never analysed counts neither way.
select
    coalesce(sum(pg_class.reltuples), 0)::bigint as rows,
    coalesce(sum(pg_total_relation_size(pg_class.oid)), 0)::bigint as bytes
from pg_inherits
join pg_class on pg_class.oid = pg_inherits.inhrelid
where pg_inherits.inhparent = 'hl.candle'::regclass and pg_class.reltuples > 0
