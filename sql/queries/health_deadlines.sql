-- How many gap slots will the exchange forget within the notice, and which is the first to go? No row when none is.
-- Not counted: slots that only wait for their turn, and series of which nothing has landed yet.
with endangered as (
    select
        gap.coin,
        gap.interval,
        gap.deadline,
        hl.slots_in(
            (
                gap.slots * tstzrange(
                    null,
                    -- the end of the last slot that opened earlier than notice less window
                    date_bin(
                        gap.step,
                        %(now)s::timestamptz + %(notice)s::interval - %(window_slots)s::integer * gap.step
                        - interval '1 microsecond',
                        timestamptz '1970-01-01 00:00:00+00'
                    ) + gap.step
                )
            )::tstzmultirange,
            gap.step
        ) as slots
    from hl.open_gaps(%(now)s, %(settle)s, %(grace)s, %(window_slots)s) as gap
    where
        not gap.is_young and not gap.is_new
        and gap.deadline < %(now)s::timestamptz + %(notice)s::interval
)

select
    sum(slots)::bigint as slots,
    hl.epoch_ms(min(deadline)) as deadline_ms,
    (array_agg(coin order by deadline, coin, interval))[1] as coin,
    (array_agg(interval order by deadline, coin, interval))[1] as interval
from endangered
having count(*) > 0
