-- What does the ledger know of these series, without their settled slots?
-- A market delisted before we first saw it counts as delisted since 0.
select
    series.series_id,
    market.coin,
    series.interval,
    hl.epoch_ms(series.tracked_from) as tracked_from_ms,
    hl.epoch_ms(series.known_until) as known_until_ms,
    hl.epoch_ms(series.first_open) as first_open_ms,
    hl.epoch_ms(series.ended_at) as ended_ms,
    case
        when not market.is_delisted then null
        when market.delisted_seen <= market.first_seen then 0
        else hl.epoch_ms(market.delisted_seen)
    end as delisted_since_ms,
    series.emits_quiet_rows,
    -- one month that says so is enough; exists would be answered by reading every month of every series
    coalesce(
        (select true from hl.coverage where coverage.series_id = series.series_id and coverage.final <> '{}' limit 1), false
    ) as has_history,
    series.interval <> '1m' and exists (
        select from hl.series as base where base.market_id = series.market_id and base.interval = '1m'
    ) as is_derived,
    array(select hl.epoch_ms(at) from unnest(series.reread_at) with ordinality as reread (at, n) order by n) as reread_ms,
    (
        select hl.epoch_ms(base.streamed_until)
        from hl.series as base
        where base.market_id = series.market_id and base.interval = '1m'
    ) as streamed_until_ms
from hl.series
join hl.market using (market_id)
where
    case
        when %(series_id)s::integer is not null then series.series_id = %(series_id)s::integer
        else market.tracked
            and (%(coins)s::text[] is null or market.coin = any(%(coins)s::text[]))
            and (%(intervals)s::text[] is null or series.interval = any(%(intervals)s::text[]))
    end
order by series.series_id
