-- How many dead letters of tracked markets are open, of which kinds, how many slots wait in them, and which died first?
-- No row if there is none.
with open as (
    select letter.*, market.coin, series.interval, hl.slots_in(letter.waiting, series.step) as slots_waiting
    from hl.dead_letter as letter
    join hl.series using (series_id)
    join hl.market using (market_id)
    where letter.resolved_at is null and market.tracked
),

kinds as (
    select jsonb_object_agg(kind, letters order by kind) as by_kind
    from (select kind, count(*) as letters from open group by kind) as kind
)

select
    count(*) over () as letters,
    (sum(slots_waiting) over ())::bigint as slots,
    kinds.by_kind,
    hl.epoch_ms(died_at) as died_ms,
    coin,
    interval,
    next_step
from open
cross join kinds
order by died_at, dead_letter_id
limit 1
