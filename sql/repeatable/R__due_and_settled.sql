-- Of each series of the tracked markets: which instants are due, slots expected and closed for at least `settle` at
-- `at`, and how many of those slots are final, proven empty and lost? What is due and none of these is still missing.
create or replace function hl.due_and_settled(at timestamptz, settle interval)
returns table (
    coin text,
    series_id integer,
    "interval" text,
    step interval,
    ended_at timestamptz,
    due tstzmultirange,
    final bigint,
    empty bigint,
    lost bigint
)
language sql stable parallel safe
begin atomic
    with series_due as (
        select
            market.coin,
            series.series_id,
            series.interval,
            series.step,
            series.ended_at,
            tstzrange(
                least(coalesce(series.first_open, series.tracked_from), bounds.ends), bounds.ends
            )::tstzmultirange as due
        from hl.series
        join hl.market using (market_id)
        cross join lateral (
            select
                least(
                    date_bin(
                        series.step,
                        due_and_settled.at - due_and_settled.settle,
                        timestamptz '1970-01-01 00:00:00+00'
                    ),
                    series.ended_at
                ) as ends
        ) as bounds
        where market.tracked
    ),

    -- A month that is due as a whole was counted when it was entered; only the first and the last are taken apart.
    ledger as (
        select
            series_due.series_id,
            sum(counted.final)::bigint as final,
            sum(counted.empty)::bigint as empty,
            sum(counted.lost)::bigint as lost
        from series_due
        join hl.coverage using (series_id)
        cross join lateral (
            select
                series_due.due @> tstzrange(
                    coverage.month::timestamp at time zone 'UTC',
                    (coverage.month + interval '1 month') at time zone 'UTC'
                ) as whole,
                extract(epoch from series_due.step)::bigint as seconds
        ) as month
        cross join lateral (
            select
                case
                    when month.whole then coverage.final_seconds / month.seconds
                    else hl.slots_in(coverage.final * series_due.due, series_due.step)
                end as final,
                case
                    when month.whole then coverage.empty_seconds / month.seconds
                    else hl.slots_in(coverage.empty * series_due.due, series_due.step)
                end as empty,
                case
                    when month.whole then coverage.lost_seconds / month.seconds
                    else hl.slots_in(coverage.lost * series_due.due, series_due.step)
                end as lost
        ) as counted
        group by series_due.series_id
    )

    select
        series_due.coin,
        series_due.series_id,
        series_due.interval,
        series_due.step,
        series_due.ended_at,
        series_due.due,
        coalesce(ledger.final, 0),
        coalesce(ledger.empty, 0),
        coalesce(ledger.lost, 0)
    from series_due
    left join ledger using (series_id);
end;
