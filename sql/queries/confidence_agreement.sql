-- How many candles read from the venue differ from the exact aggregate of the next smaller interval's candles?
-- A difference accuses both sides, the parent and its children, unless a third interval, the next larger or the next
-- smaller one, agrees with one of them there: two outvote the one. Children may be read or derived themselves; they
-- must all be there, final or proven empty. Those without trades do not count. Volume may differ by 1e-9 relative: the
-- venue's strings carry float noise. Sampled: candles that the venue's own answer found wrong after they had been
-- derived; those compared are the sample. Of the larger candles above a series those without a proven empty slot are
-- told apart: only such are ever derived from it.
with rung as (
    select
        series.series_id, series.market_id, series.interval, series.step,
        array_position(array['1m', '5m', '15m', '1h', '4h', '1d'], series.interval) as level
    from hl.series
    join hl.market using (market_id)
    where market.tracked
),

pair as (
    select
        parent.series_id, parent.step, parent.interval,
        child.series_id as child_id, child.step as child_step,
        above.series_id as above_id, above.step as above_step,
        below.series_id as below_id, below.step as below_step,
        %(now)s::timestamptz - case
            when parent.step <= interval '15 minutes' then interval '24 hours'
            else least(60 * parent.step, interval '30 days')
        end as starts
    from rung as parent
    join rung as child on child.market_id = parent.market_id and child.level = parent.level - 1
    left join rung as above on above.market_id = parent.market_id and above.level = parent.level + 1
    left join rung as below on below.market_id = parent.market_id and below.level = parent.level - 2
),

-- Series by series, by the key's index: joined as a whole, the planner reads a month to find a day.
rolled as materialized (
    select pair.series_id, made.*
    from pair
    cross join lateral (
        select
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
        from hl.candle
        where
            candle.series_id = pair.child_id
            and candle.open_time >= pair.starts
            and candle.finality = 'f'
            and candle.source in ('r', 'd', 'a')
            and candle.open_time >= %(now)s::timestamptz - interval '31 days'
            and candle.open_time < %(now)s::timestamptz
        group by 1
    ) as made
),

empty as (
    select coverage.series_id as child_id, range_agg(coverage.empty) as slots
    from pair
    join hl.coverage on coverage.series_id = pair.child_id
    where coverage.empty <> '{}' and coverage.month >= (%(now)s::timestamptz - interval '62 days')::date
    group by coverage.series_id
),

-- Materialized as the aggregates are: read anew for each series, those would be made anew.
read as materialized (
    select pair.*, candle.open_time, candle.open, candle.high, candle.low, candle.close, candle.volume, candle.trades
    from pair
    cross join lateral (
        select open_time, open, high, low, close, volume, trades
        from hl.candle
        where
            series_id = pair.series_id
            and open_time >= pair.starts
            and finality = 'f'
            and source = 'r'
            and open_time >= %(now)s::timestamptz - interval '31 days'
            and open_time < %(now)s::timestamptz
        offset 0
    ) as candle
),

judged as (
    select
        parent.*,
        coalesce(rolled.children, 0) = extract(epoch from parent.step) / extract(epoch from parent.child_step)
            as has_all_rows,
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
            join hl.fetch as answer on answer.fetch_id = derived.replaced_by and answer.interval = parent.interval
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
    from read as parent
    left join rolled on rolled.series_id = parent.series_id and rolled.open_time = parent.open_time
    left join empty on empty.child_id = parent.child_id
    where
        extract(epoch from parent.step) / extract(epoch from parent.child_step) = coalesce(rolled.children, 0)
        + case
            when rolled.children = extract(epoch from parent.step) / extract(epoch from parent.child_step) then 0
            else hl.slots_in(
                empty.slots * tstzmultirange(tstzrange(parent.open_time, parent.open_time + parent.step)), parent.child_step
            )
        end
),

witnessed as (
    select
        judged.series_id,
        judged.child_id,
        judged.has_all_rows,
        judged.was_derived_wrong,
        judged.differs and (not witness.for_parent or witness.for_child) as parent_accused,
        judged.differs and (not witness.for_child or witness.for_parent) as child_accused
    from judged
    cross join lateral (
        select date_bin(judged.above_step, judged.open_time, timestamptz '1970-01-01 00:00:00+00') as above_open
    ) as place
    cross join lateral (
        select
            case when judged.differs then
                hl.adds_up(above_id, above_step, series_id, step, place.above_open) is true
                or hl.adds_up(series_id, step, below_id, below_step, open_time) is true
            else false end as for_parent,
            case when judged.differs then
                hl.adds_up(above_id, above_step, child_id, child_step, place.above_open) is true
                or (
                    select bool_and(hl.adds_up(child_id, child_step, below_id, below_step, child_open) is true)
                    from generate_series(open_time, open_time + step - child_step, child_step) as child_open
                )
            else false end as for_child
    ) as witness
),

accused as (
    select
        series_id,
        count(*) as compared,
        count(*) filter (where parent_accused) as differing,
        count(*) filter (where was_derived_wrong) as sampled_differing
    from witnessed
    group by series_id
),

accused_by_parents as (
    select
        child_id as series_id,
        count(*) as compared,
        count(*) filter (where child_accused) as differing,
        count(*) filter (where has_all_rows) as compared_rows,
        count(*) filter (where has_all_rows and child_accused) as differing_rows
    from witnessed
    group by child_id
)

select
    series_id,
    coalesce(accused.compared, 0) as parents_compared,
    coalesce(accused.differing, 0) as parents_differing,
    coalesce(accused.sampled_differing, 0) as sampled_differing,
    coalesce(accused_by_parents.compared, 0) as above_compared,
    coalesce(accused_by_parents.differing, 0) as above_differing,
    coalesce(accused_by_parents.compared_rows, 0) as above_compared_rows,
    coalesce(accused_by_parents.differing_rows, 0) as above_differing_rows
from accused
full join accused_by_parents using (series_id)
