-- Tracks the first so many markets.
update hl.market set tracked = market_id <= %(markets)s, tracked_by = case when market_id <= %(markets)s then 'list' end
where tracked is distinct from (market_id <= %(markets)s)
