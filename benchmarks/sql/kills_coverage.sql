-- The ledger of what closed by %(until)s: coin, interval, state and slots.
select
    market.coin, series.interval, part.state,
    range_agg(part.slots * tstzmultirange(tstzrange(null, date_bin(series.step, %(until)s::timestamptz, 'epoch'))))::text
from hl.series
join hl.market using (market_id)
join hl.coverage using (series_id)
cross join lateral (values ('final', coverage.final), ('empty', coverage.empty), ('lost', coverage.lost)) as part (state, slots)
group by market.coin, series.interval, part.state
