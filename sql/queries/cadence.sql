-- How many markets are asked for at the live edge, and what percent of the weight is left to the live lane when every
-- other lane takes its floor? A delisted market is asked for nothing new.
select
    (select count(*) from hl.market where tracked and not is_delisted) as markets,
    (select 100 - coalesce(sum(floor_percent), 0) from hl.rate_limit_lane where lane <> 'live')::integer as live_percent
