-- Has the materialized view been filled? A concurrent refresh needs that.
select relispopulated from pg_class where oid = 'hl.latest_metrics'::regclass
