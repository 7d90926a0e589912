-- How many slots of these series does the ledger call final, empty and lost, month by month?
select
    coverage.series_id,
    hl.epoch_ms(coverage.month::timestamp at time zone 'UTC') as month_ms,
    hl.slots_in(coverage.final, series.step) as final,
    hl.slots_in(coverage.empty, series.step) as empty,
    hl.slots_in(coverage.lost, series.step) as lost
from hl.coverage
join hl.series using (series_id)
where coverage.series_id = any(%(series_ids)s::integer[])
