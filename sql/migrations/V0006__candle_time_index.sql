-- Finds the candles of the last days over all series. The key begins with the series, so that by it each row of a
-- thousand series is a page of its own; or the planner reads the whole month. Candles lie in the order in which they were
-- collected: a few bytes for each 32 pages tell which times are there (180 kB for a month of 200 markets).

create index candle_open_time on hl.candle using brin (open_time) with (pages_per_range = 32, autosummarize = on);
