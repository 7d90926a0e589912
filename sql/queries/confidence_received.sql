-- How many rows did the answers of the last day hold for each tracked series, and how many broke a hard rule?
-- The bound on this server's own clock keeps the scan short; market time never runs slower than it.
select
    series.series_id,
    sum(coalesce(answer.rows, 0) + answer.rejected)::bigint as received,
    sum(answer.rejected)::bigint as bad
from hl.fetch as answer
join hl.market on market.coin = answer.coin
join hl.series on series.market_id = market.market_id and series.interval = answer.interval
where
    market.tracked
    and answer.status = 'landed'
    and answer.recorded_at > clock_timestamp() - interval '1 day'
    and answer.asked_at > %(now)s::timestamptz - interval '1 day'
group by series.series_id
