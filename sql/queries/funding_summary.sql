-- How many funding rates does each of these tracked markets have, how new is the newest, and how many are missing?
-- A rate is paid every hour, every eight until about 2023-06-07 (a day is allowed for), up to 24 minutes late: seen
-- from ten minutes before, each falls into its own hour. What is missing between two neighbours is counted, not named.
-- Before the first rate nothing is expected (when a market was listed is unknown), after the newest it is not yet due.
select
    market.coin,
    read.rates,
    hl.epoch_ms(read.newest) as newest_ms,
    read.missing
from hl.market
cross join lateral (
    select
        count(*) as rates,
        max(time) as newest,
        coalesce(sum(greatest((hour - earlier_hour - 1) / earlier_step, 0)), 0)::bigint as missing
    from (
        select
            time,
            hour,
            lag(hour) over (order by time) as earlier_hour,
            case when lag(time) over (order by time) < '2023-06-08 00:00:00+00' then 8 else 1 end as earlier_step
        from (
            select time, (extract(epoch from time)::bigint + 600) / 3600 as hour
            from hl.funding_rate
            where funding_rate.market_id = market.market_id
        ) as paid
    ) as spaced
) as read
where market.tracked and market.kind in ('perp', 'builder') and market.coin = any(%(coins)s::text[])
order by market.coin
