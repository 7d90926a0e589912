-- How many gap slots of each interval are past their next try by more than the grace, and how many still wait for it?
select
    series.interval,
    coalesce(
        sum(hl.slots_in(gap.slots::tstzmultirange, series.step))
        filter (where gap.next_try < %(now)s::timestamptz - %(grace)s::interval), 0
    )::bigint as overdue,
    coalesce(
        sum(hl.slots_in(gap.slots::tstzmultirange, series.step))
        filter (where gap.next_try >= %(now)s::timestamptz - %(grace)s::interval), 0
    )::bigint as waiting
from hl.gap
join hl.series using (series_id)
join hl.market using (market_id)
where market.tracked
group by series.interval
