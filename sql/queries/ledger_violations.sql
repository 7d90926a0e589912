-- Where does the ledger contradict the candles, the gaps or itself? No row means that it holds.
-- Every slot of [expected start, known until) must be exactly one of final, empty, lost or part of a gap, and the
-- final slots must be those with a final candle row.
with series_span as (
    select
        series_id,
        step,
        case
            when known_until > coalesce(first_open, tracked_from)
            then tstzmultirange(tstzrange(coalesce(first_open, tracked_from), known_until))
            else '{}'
        end as expected
    from hl.series
),

ledger as (
    select series_id, range_agg(final) as final, range_agg(empty) as empty, range_agg(lost) as lost
    from hl.coverage
    group by series_id
),

gaps as (
    select series_id, range_agg(slots) as slots, sum(upper(slots) - lower(slots)) as length
    from hl.gap
    group by series_id
),

rows as (
    select candle.series_id, range_agg(tstzrange(candle.open_time, candle.open_time + series.step)) as final
    from hl.candle
    join hl.series using (series_id)
    where candle.finality = 'f'
    group by candle.series_id
),

facts as (
    select
        series_span.series_id,
        series_span.expected,
        coalesce(ledger.final, '{}') as final,
        coalesce(ledger.empty, '{}') as empty,
        coalesce(ledger.lost, '{}') as lost,
        coalesce(gaps.slots, '{}') as gaps,
        coalesce(rows.final, '{}') as rows
    from series_span
    left join ledger using (series_id)
    left join gaps using (series_id)
    left join rows using (series_id)
)

select facts.series_id, broken.rule, broken.slots::text
from facts
cross join lateral (
    values
        ('final in the ledger, but no final candle row', facts.final - facts.rows),
        ('a final candle row, but not final in the ledger', facts.rows - facts.final),
        ('both final and a gap', facts.final * facts.gaps),
        ('both empty and a gap', facts.empty * facts.gaps),
        ('both lost and a gap', facts.lost * facts.gaps),
        ('expected, but neither settled nor a gap', facts.expected - facts.final - facts.empty - facts.lost - facts.gaps),
        ('a gap outside what is expected', facts.gaps - facts.expected)
) as broken (rule, slots)
where broken.slots <> '{}'
order by facts.series_id, broken.rule
