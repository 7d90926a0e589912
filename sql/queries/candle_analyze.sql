-- Counts anew what the planner knows of candles and ledger. Autovacuum does so within minutes; until then a first
-- collection's hundred thousand rows would be joined as if they were ten.
analyze hl.candle, hl.coverage, hl.gap, hl.series
