-- Every run of slots that was due at an instant and is not settled: why, and until when it can still be had.
-- The ledger's own gaps, and what came due since a series was last asked, which stands in no gap yet: while nobody
-- collects, that is all there is. Tracked markets only.
-- settle: how long after its close a slot is due. grace: how long a slot may wait for its turn before that is worth a
-- word; is_young is true until then (read too early to be trusted, or closed and not asked for yet).
-- window_slots: how many candles of a series the exchange keeps. is_new: no answer has landed yet, so nothing of the
-- series can be lost. is_dead: it waits in a dead letter.
drop function if exists hl.open_gaps(timestamptz, interval, interval, integer);
create function hl.open_gaps(at timestamptz, settle interval, grace interval, window_slots integer)
returns table (
    series_id integer,
    coin text,
    "interval" text,
    step interval,
    slots tstzrange,
    reason text,
    attempts integer,
    next_try timestamptz,
    deadline timestamptz,
    is_young boolean,
    is_new boolean,
    is_dead boolean
)
language sql stable
set search_path = pg_catalog, hl, pg_temp
as $$
    with expected as (
        select
            series.series_id,
            market.coin,
            series.interval,
            series.step,
            answered.is_new,
            greatest(
                series.known_until,
                coalesce(series.first_open, series.tracked_from),
                case
                    when answered.is_new
                    then date_bin(series.step, at, timestamptz '1970-01-01 00:00:00+00')
                        - (window_slots - 1) * series.step
                end
            ) as starts,
            least(
                date_bin(series.step, at - settle, timestamptz '1970-01-01 00:00:00+00'), series.ended_at
            ) as ends
        from hl.series
        join hl.market using (market_id)
        cross join lateral (select series.known_until <= series.tracked_from as is_new) as answered
        where market.tracked
    )

    select
        gap.series_id, expected.coin, expected.interval, expected.step, gap.slots,
        gap.reason, gap.attempts, gap.next_try, gap.deadline,
        gap.reason = 'provisional' and gap.next_try >= at - grace,
        expected.is_new,
        gap.is_dead
    from hl.gap
    join expected using (series_id)
    union all
    select
        expected.series_id, expected.coin, expected.interval, expected.step,
        tstzrange(expected.starts, expected.ends),
        'unasked', 0, at, expected.starts + window_slots * expected.step,
        expected.starts + expected.step >= at - settle - grace,
        expected.is_new,
        false
    from expected
    where expected.starts < expected.ends
$$;
