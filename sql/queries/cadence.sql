-- How many markets are asked for at the live edge, and what percent of the weight is left to the live lane when every
-- other lane takes its floor? A delisted market is asked for nothing new, and one that the stream watches only to be
-- confirmed now and then.
select
    (
        select count(*)
        from hl.market
        where tracked
            and not is_delisted
            and not exists (
                select from hl.series
                where series.market_id = market.market_id
                    and series.interval = '1m'
                    and series.streamed_until >= %(now)s::timestamptz - %(stream_patience)s::interval
            )
    ) as markets,
    (select 100 - coalesce(sum(floor_percent), 0) from hl.rate_limit_lane where lane <> 'live')::integer as live_percent
