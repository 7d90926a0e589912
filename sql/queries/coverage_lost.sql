-- How many slots of one series are lost, in all?
select coalesce(sum(hl.slots_in(coverage.lost, series.step)), 0)::bigint as lost
from hl.series
left join hl.coverage using (series_id)
where series.series_id = %(series_id)s
