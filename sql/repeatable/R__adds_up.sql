-- Is the venue's candle of the larger series at this time the exact aggregate of the smaller series' candles?
-- Null when that cannot be said: the larger one was not read as final from the venue, or a smaller one is neither final
-- nor proven empty. Smaller candles without trades do not count; volume may differ by 1e-9 relative. For single slots;
-- confidence_agreement asks the same of whole series at once.
create or replace function hl.adds_up(
    larger_id integer, larger_step interval, smaller_id integer, smaller_step interval, at timestamptz
)
returns boolean
language sql stable parallel safe
return (
    select
        case
            when not held.slots @> tstzmultirange(tstzrange(at, at + larger_step)) then null
            else (
                larger.open <> rolled.open
                or larger.high <> rolled.high
                or larger.low <> rolled.low
                or larger.close <> rolled.close
                or larger.trades <> coalesce(rolled.trades, 0)
                or abs(larger.volume - coalesce(rolled.volume, 0))
                > 1e-9 * greatest(larger.volume, coalesce(rolled.volume, 0))
            ) is not true
        end
    from hl.candle as larger
    cross join lateral (
        select
            max(candle.open) filter (where candle.open_time = at and candle.trades > 0) as open,
            max(candle.high) filter (where candle.trades > 0) as high,
            min(candle.low) filter (where candle.trades > 0) as low,
            max(candle.close) filter (
                where candle.open_time = at + larger_step - smaller_step and candle.trades > 0
            ) as close,
            sum(candle.volume) as volume,
            sum(candle.trades) as trades,
            coalesce(range_agg(tstzrange(candle.open_time, candle.open_time + smaller_step)), '{}') as slots
        from hl.candle
        where candle.series_id = smaller_id
            and candle.open_time >= at
            and candle.open_time < at + larger_step
            and candle.finality = 'f'
            and candle.source in ('r', 'd', 'a')
    ) as rolled
    cross join lateral (
        select rolled.slots + coalesce(range_agg(coverage.empty), '{}') as slots
        from hl.coverage
        where coverage.series_id = smaller_id
            and coverage.month >= (at - interval '1 month')::date
            and coverage.month <= (at + larger_step)::date
    ) as held
    where larger.series_id = larger_id
        and larger.open_time = at
        and larger.finality = 'f'
        and larger.source = 'r'
);
