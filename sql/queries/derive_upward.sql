-- What candles of 5m to 1d do a market's 1m slots make up, and which slots do they settle?
-- Writes the candles that are new or changed and returns the slots that the ledger does not call settled yet.
-- A slot is settled when each of its minutes is final or proven empty; it is empty itself when all are. The open slot
-- is kept up to date too, and a closed one whose minutes were all read but are not all settled gets a provisional candle:
-- the exchange may publish a quiet minute late. Minutes without trades count only where none has any. A row read from
-- the venue stays.
with base as materialized (
    select base.series_id, base.known_until
    from hl.series as landed
    join hl.series as base using (market_id)
    where landed.series_id = %(series_id)s and base.interval = '1m'
),

parent as materialized (
    select
        parent.series_id,
        parent.step,
        coalesce(parent.first_open, parent.tracked_from) as expected_from,
        coalesce(parent.ended_at, 'infinity') as ended_at,
        date_bin(parent.step, %(starts)s, timestamptz '1970-01-01 00:00:00+00') as first_slot,
        date_bin(parent.step, %(ends)s::timestamptz - interval '1 ms', timestamptz '1970-01-01 00:00:00+00') as last_slot
    from hl.series as landed
    join hl.series as parent using (market_id)
    where landed.series_id = %(series_id)s
        and (landed.interval = '1m' or parent.series_id = landed.series_id)
        and parent.interval <> '1m'
        and parent.known_until > parent.tracked_from
),

minutes as materialized (
    select
        -- of minutes whose candles are in a file and no longer here, nothing can be made
        coalesce(range_agg(final + empty - coalesce(exported.slots, '{}')), '{}') as settled,
        coalesce(range_agg(empty), '{}') as empty,
        coalesce(
            (
                select range_agg(slots)
                from hl.gap
                where gap.series_id = (select series_id from base)
                    and reason in ('unasked', 'failed', 'exchange_down', 'rejected')
            ),
            '{}'
        ) as unread
    from hl.coverage
    left join hl.exported_slots as exported using (series_id, month)
    where series_id = (select series_id from base)
        and month >= date_trunc('month', %(day_starts)s::timestamptz)::date
        and month <= %(day_ends)s::date
),

-- a set of candles a slot, then the verdict: joining them to a list of slots took seconds for thousands of minutes
aggregated as materialized (
    select
        parent.series_id,
        parent.step,
        date_bin(parent.step, candle.open_time, timestamptz '1970-01-01 00:00:00+00') as open_time,
        (array_agg(candle.open order by candle.trades = 0, candle.open_time))[1] as open,
        coalesce(max(candle.high) filter (where candle.trades > 0), max(candle.high)) as high,
        coalesce(min(candle.low) filter (where candle.trades > 0), min(candle.low)) as low,
        (array_agg(candle.close order by candle.trades = 0, candle.open_time desc))[1] as close,
        sum(candle.volume) as volume,
        sum(candle.trades)::integer as trades
    from parent
    join hl.candle
        on candle.series_id = (select series_id from base)
        and candle.open_time >= %(day_starts)s
        and candle.open_time < %(day_ends)s
        and candle.open_time >= parent.first_slot
        and candle.open_time < parent.last_slot + parent.step
        and (
            candle.finality = 'f'
            or (candle.finality = 'p' and not (select empty from minutes) @> candle.open_time)
            or date_bin(parent.step, candle.open_time, timestamptz '1970-01-01 00:00:00+00') + parent.step > %(asked_at)s
        )
    group by parent.series_id, parent.step, 3
),

rolled as materialized (
    select aggregated.*, is_whole
    from aggregated
    join parent using (series_id)
    cross join minutes
    cross join lateral (
        select minutes.settled @> tstzrange(open_time, open_time + aggregated.step) as is_whole
    ) as verdict
    where open_time >= parent.expected_from
        and open_time < parent.ended_at
        and (
            is_whole
            or (
                open_time + aggregated.step > %(asked_at)s
                and minutes.settled @> tstzrange(open_time, greatest(open_time, %(settled_until)s))
            )
            or (
                open_time + aggregated.step <= (select known_until from base)
                and not minutes.unread && tstzrange(open_time, open_time + aggregated.step)
            )
        )
),

replaced as materialized (
    select candle.*
    from rolled
    join hl.candle using (series_id, open_time)
    where candle.open_time >= %(day_starts)s and candle.open_time < %(day_ends)s
        and candle.source = 'd'
        -- what provisional minutes made was never more than a preview
        and candle.finality = 'f'
        and (candle.open, candle.high, candle.low, candle.close, candle.volume, candle.trades)
        is distinct from (rolled.open, rolled.high, rolled.low, rolled.close, rolled.volume, rolled.trades)
),

revised as (
    insert into hl.candle_revision (
        series_id, open_time, replaced_by, replaced_at,
        open, high, low, close, volume, trades, fetch_id, source, finality
    )
    select
        series_id, open_time, %(fetch_id)s, %(asked_at)s,
        open, high, low, close, volume, trades, fetch_id, source, finality
    from replaced
    on conflict do nothing
),

written as (
    insert into hl.candle as candle (
        series_id, open_time, open, high, low, close, volume, trades, fetch_id, source, finality
    )
    select
        series_id, open_time, open, high, low, close, volume, trades, %(fetch_id)s, 'd',
        case when is_whole then 'f' when open_time + step <= %(asked_at)s then 'p' else 'o' end::"char"
    from rolled
    order by series_id, open_time
    on conflict (series_id, open_time) do update
    set
        open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close,
        volume = excluded.volume, trades = excluded.trades,
        fetch_id = excluded.fetch_id, source = excluded.source, finality = excluded.finality
    where (candle.source = 'd' or (candle.finality <> 'f' and candle.fetch_id < excluded.fetch_id))
        and (candle.finality <> 'f' or excluded.finality = 'f')
        and (candle.open, candle.high, candle.low, candle.close, candle.volume, candle.trades, candle.finality)
        is distinct from
        (
            excluded.open, excluded.high, excluded.low, excluded.close, excluded.volume, excluded.trades,
            excluded.finality
        )
),

whole as (
    select parent.series_id, range_agg(tstzrange(open_time, open_time + step)) as slots
    from parent
    cross join minutes
    cross join lateral generate_series(first_slot, last_slot, step) as open_time
    where open_time >= expected_from
        and open_time < ended_at
        and minutes.settled @> tstzrange(open_time, open_time + step)
    group by parent.series_id
),

final as (
    select series_id, range_agg(tstzrange(open_time, open_time + step)) as slots
    from rolled
    where is_whole
    group by series_id
),

known as (
    select ledger.series_id, range_agg(ledger.final) as final, range_agg(ledger.empty) as empty
    from parent
    join hl.coverage as ledger using (series_id)
    where ledger.month >= date_trunc('month', %(day_starts)s::timestamptz)::date
        and ledger.month <= %(day_ends)s::date
    group by ledger.series_id
)

select series_id, news.final, news.empty
from whole
left join final using (series_id)
left join known using (series_id)
cross join lateral (
    select
        coalesce(final.slots, '{}') - coalesce(known.final, '{}') as final,
        whole.slots - coalesce(final.slots, '{}') - coalesce(known.empty, '{}') - coalesce(known.final, '{}') as empty
) as news
where news.final <> '{}' or news.empty <> '{}'
order by series_id
