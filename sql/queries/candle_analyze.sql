-- Counts anew what the planner knows of candles and ledger. Autovacuum does so within minutes; until then a first
-- collection's hundred thousand rows would be joined as if they were ten. Only the columns that joins and filters use:
-- sorting samples of the prices would take most of the time and help no plan.
analyze hl.candle (series_id, open_time, finality), hl.coverage, hl.gap, hl.series
