-- Of the whole minutes since an instant's, or since health was first logged: how many are over, and in how many did the
-- log say that candles of every interval were fresh? A minute without a line in the log is not one of these.
with bounds as (
    select
        date_bin('1 minute', greatest(%(since)s::timestamptz, min(logged_at)), timestamptz '1970-01-01 00:00:00+00') as since,
        date_bin('1 minute', %(now)s::timestamptz, timestamptz '1970-01-01 00:00:00+00') as until
    from hl.system_health_log
    having count(*) > 0
),

minutes as (
    select
        date_bin('1 minute', logged_at, timestamptz '1970-01-01 00:00:00+00') as minute,
        bool_and(
            jsonb_path_exists(report, '$.checks[*] ? (@.name starts with "fresh_")')
            and not jsonb_path_exists(report, '$.checks[*] ? (@.name starts with "fresh_" && @.passed == false)')
        ) as is_fresh
    from hl.system_health_log
    cross join bounds
    where logged_at >= bounds.since and logged_at < bounds.until
    group by 1
)

select
    coalesce((select greatest(extract(epoch from until - since) / 60, 0) from bounds), 0)::bigint as minutes,
    (select count(*) from minutes where is_fresh) as fresh
