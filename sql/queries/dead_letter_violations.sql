-- Where do dead letters and dead gaps contradict one another? No row means that they agree: the slots that the open
-- letters of a series wait for are its dead gaps, and no failure is counted for slots that are no gap.
with letters as (
    select series_id, range_agg(waiting) as slots from hl.dead_letter where resolved_at is null group by series_id
),

dead as (
    select series_id, range_agg(slots) as slots from hl.gap where is_dead group by series_id
),

gaps as (
    select series_id, range_agg(slots) as slots from hl.gap group by series_id
),

failures as (
    select series_id, range_agg(slots) as slots from hl.fetch_failure group by series_id
)

select series.series_id, broken.rule, broken.slots::text
from hl.series
left join letters using (series_id)
left join dead using (series_id)
left join gaps using (series_id)
left join failures using (series_id)
cross join lateral (
    values
        ('in an open dead letter, but no dead gap', coalesce(letters.slots, '{}') - coalesce(dead.slots, '{}')),
        ('a dead gap, but in no open dead letter', coalesce(dead.slots, '{}') - coalesce(letters.slots, '{}')),
        ('a failure counted for what is no gap', coalesce(failures.slots, '{}') - coalesce(gaps.slots, '{}'))
) as broken (rule, slots)
where broken.slots <> '{}'
order by series.series_id, broken.rule
