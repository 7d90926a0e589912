-- The slots of an interval that the ledger calls empty or lost, as spans [start, end) in ms.
select market.coin, kind.name, hl.epoch_ms(lower(slots)), hl.epoch_ms(upper(slots))
from hl.coverage
join hl.series using (series_id)
join hl.market using (market_id)
cross join lateral (values ('empty', coverage.empty), ('lost', coverage.lost)) as kind (name, found)
cross join lateral unnest(kind.found) as slots
where series.interval = %(interval)s
