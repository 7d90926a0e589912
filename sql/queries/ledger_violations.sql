-- Where does the ledger contradict the candles, the gaps or itself? No row means that it holds.
-- Every slot of [expected start, known until) must be exactly one of final, empty, lost or part of a gap, and the
-- final slots must be those with a final candle row, or with one that was exported to a file and dropped. Judged from the UTC day of %(since)s on; null: everything, which
-- reads every candle.
with judged as (
    select tstzmultirange(tstzrange(date_bin('1 day', %(since)s, timestamptz '1970-01-01 00:00:00+00'), null)) as span
),

series_span as (
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
    where month >= coalesce(date_trunc('month', %(since)s::timestamptz)::date, '-infinity')
    group by series_id
),

gaps as (
    select series_id, range_agg(slots) as slots, sum(upper(slots) - lower(slots)) as length
    from hl.gap
    group by series_id
),

-- Runs of neighbouring candles first: a range for each candle would take all memory.
run as (
    select series_id, tstzrange(min(open_time), max(open_time) + step) as slots
    from (
        select
            series_id,
            series.step,
            candle.open_time,
            candle.open_time
            - row_number() over (partition by series_id order by candle.open_time) * series.step as island
        from (
            select series_id, open_time
            from hl.candle
            where finality = 'f'
                and open_time
                >= coalesce(date_bin('1 day', %(since)s, timestamptz '1970-01-01 00:00:00+00'), '-infinity')
            -- read as they lie and sorted then; by the key's index each page would be read hundreds of times
            offset 0
        ) as candle
        join hl.series using (series_id)
    ) as numbered
    group by series_id, step, island
),

rows as (
    select series_id, range_agg(slots) as final
    from run
    group by series_id
),

exported as (
    select series_id, range_agg(slots) as slots
    from hl.exported_slots
    where month >= coalesce(date_trunc('month', %(since)s::timestamptz)::date, '-infinity')
    group by series_id
),

facts as (
    select
        series_span.series_id,
        series_span.expected,
        coalesce(ledger.final, '{}') as final,
        coalesce(ledger.empty, '{}') as empty,
        coalesce(ledger.lost, '{}') as lost,
        coalesce(gaps.slots, '{}') as gaps,
        coalesce(rows.final, '{}') as rows,
        coalesce(exported.slots, '{}') as exported
    from series_span
    left join ledger using (series_id)
    left join gaps using (series_id)
    left join rows using (series_id)
    left join exported using (series_id)
)

select facts.series_id, broken.rule, (broken.slots * judged.span)::text
from facts
cross join judged
cross join lateral (
    values
        ('final in the ledger, but no final candle row', facts.final - facts.rows - facts.exported),
        ('a final candle row, but not final in the ledger', facts.rows - facts.final),
        ('exported, but not final in the ledger', facts.exported - facts.final),
        ('both final and a gap', facts.final * facts.gaps),
        ('both empty and a gap', facts.empty * facts.gaps),
        ('both lost and a gap', facts.lost * facts.gaps),
        ('expected, but neither settled nor a gap', facts.expected - facts.final - facts.empty - facts.lost - facts.gaps),
        ('a gap outside what is expected', facts.gaps - facts.expected)
) as broken (rule, slots)
where broken.slots && judged.span
order by facts.series_id, broken.rule
