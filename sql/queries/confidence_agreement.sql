-- How many candles read from the venue differ from the exact aggregate of the next smaller interval's candles?
-- A difference accuses both sides, the parent and its children: nobody knows which of them lies. Children may be read
-- or derived themselves; they must all be there, final or proven empty. Those without trades do not count. Volume may
-- differ by 1e-9 relative: the venue's strings carry float noise. Sampled: candles that the venue's own answer found
-- wrong after they had been derived; those compared are the sample.
with pair as (
    select
        parent.series_id,
        child.series_id as child_id,
        parent.step,
        child.step as child_step,
        parent.interval,
        %(now)s::timestamptz - case
            when parent.step <= interval '15 minutes' then interval '24 hours'
            else least(60 * parent.step, interval '30 days')
        end as starts
    from hl.market
    join hl.series as parent using (market_id)
    join hl.series as child using (market_id)
    join (
        values ('5m', '1m'), ('15m', '5m'), ('1h', '15m'), ('4h', '1h'), ('1d', '4h')
    ) as ladder (interval, child_interval)
        on ladder.interval = parent.interval and ladder.child_interval = child.interval
    where market.tracked
),

rolled as (
    select
        pair.series_id,
        date_bin(pair.step, candle.open_time, timestamptz '1970-01-01 00:00:00+00') as open_time,
        count(*) as children,
        max(candle.open) filter (
            where candle.open_time = date_bin(pair.step, candle.open_time, timestamptz '1970-01-01 00:00:00+00')
            and candle.trades > 0
        ) as open,
        max(candle.high) filter (where candle.trades > 0) as high,
        min(candle.low) filter (where candle.trades > 0) as low,
        max(candle.close) filter (
            where candle.open_time + pair.child_step
            = date_bin(pair.step, candle.open_time, timestamptz '1970-01-01 00:00:00+00') + pair.step
            and candle.trades > 0
        ) as close,
        sum(candle.volume) as volume,
        sum(candle.trades) as trades
    from pair
    join hl.candle on candle.series_id = pair.child_id and candle.open_time >= pair.starts
    where
        candle.finality = 'f'
        and candle.source in ('r', 'd', 'a')
        and candle.open_time >= %(now)s::timestamptz - interval '31 days'
        and candle.open_time < %(now)s::timestamptz
    group by pair.series_id, 2
),

empty as (
    select coverage.series_id as child_id, range_agg(coverage.empty) as slots
    from pair
    join hl.coverage on coverage.series_id = pair.child_id
    where coverage.empty <> '{}' and coverage.month >= (%(now)s::timestamptz - interval '62 days')::date
    group by coverage.series_id
),

judged as (
    select
        pair.series_id,
        pair.child_id,
        (
            parent.open <> rolled.open
            or parent.high <> rolled.high
            or parent.low <> rolled.low
            or parent.close <> rolled.close
            or parent.trades <> coalesce(rolled.trades, 0)
            or abs(parent.volume - coalesce(rolled.volume, 0))
            > 1e-9 * greatest(parent.volume, coalesce(rolled.volume, 0))
        ) is true as differs,
        exists (
            select
            from hl.candle_revision as derived
            join hl.fetch as answer on answer.fetch_id = derived.replaced_by and answer.interval = pair.interval
            where
                derived.series_id = parent.series_id
                and derived.open_time = parent.open_time
                and derived.source = 'd'
                and (
                    (derived.open, derived.high, derived.low, derived.close, derived.trades)
                    is distinct from (parent.open, parent.high, parent.low, parent.close, parent.trades)
                    or abs(derived.volume - parent.volume) > 1e-9 * greatest(derived.volume, parent.volume)
                )
        ) as was_derived_wrong
    from pair
    join hl.candle as parent on parent.series_id = pair.series_id and parent.open_time >= pair.starts
    left join rolled on rolled.series_id = parent.series_id and rolled.open_time = parent.open_time
    left join empty on empty.child_id = pair.child_id
    where
        parent.finality = 'f'
        and parent.source = 'r'
        and parent.open_time >= %(now)s::timestamptz - interval '31 days'
        and parent.open_time < %(now)s::timestamptz
        and extract(epoch from pair.step) / extract(epoch from pair.child_step) = coalesce(rolled.children, 0)
        + case
            when rolled.children = extract(epoch from pair.step) / extract(epoch from pair.child_step) then 0
            else hl.slots_in(
                empty.slots * tstzmultirange(tstzrange(parent.open_time, parent.open_time + pair.step)), pair.child_step
            )
        end
),

accused as (
    select series_id, count(*) as compared, count(*) filter (where differs) as differing,
        count(*) filter (where was_derived_wrong) as sampled_differing
    from judged
    group by series_id
),

accused_by_parents as (
    select child_id as series_id, count(*) as compared, count(*) filter (where differs) as differing
    from judged
    group by child_id
)

select
    series_id,
    coalesce(accused.compared, 0) as parents_compared,
    coalesce(accused.differing, 0) as parents_differing,
    coalesce(accused.sampled_differing, 0) as sampled_differing,
    coalesce(accused_by_parents.compared, 0) as above_compared,
    coalesce(accused_by_parents.differing, 0) as above_differing
from accused
full join accused_by_parents using (series_id)
