-- Of the minutes since an instant, or since health was first logged: how many are over, and in how many did the log say
-- that candles of every interval were fresh? A minute without a line in the log is not one of these.
with minutes as (
    select
        date_bin('1 minute', logged_at, timestamptz '1970-01-01 00:00:00+00') as minute,
        bool_and(
            jsonb_path_exists(report, '$.checks[*] ? (@.name starts with "fresh_")')
            and not jsonb_path_exists(report, '$.checks[*] ? (@.name starts with "fresh_" && @.passed == false)')
        ) as is_fresh
    from hl.system_health_log
    where logged_at >= %(since)s and logged_at < date_bin('1 minute', %(now)s::timestamptz, timestamptz '1970-01-01 00:00:00+00')
    group by 1
),

first as (
    select date_bin('1 minute', min(logged_at), timestamptz '1970-01-01 00:00:00+00') as minute from hl.system_health_log
)

select
    case
        when first.minute is null then 0
        else greatest(
            floor(extract(epoch from %(now)s::timestamptz - greatest(first.minute, %(since)s::timestamptz)) / 60), 0
        )
    end::bigint as minutes,
    (select count(*) from minutes where is_fresh) as fresh
from first
