-- What came of the last 24 hours, in one row. It is counted from the tables, so a restart forgets nothing.
-- The hours end now; where market time is shifted (a sandbox), the newest request tells by how much.
-- points: rows in landed answers, candles and quotes, streamed ones too; what was read again counts again.
-- seconds_to_detect: from when a slot was due to when it was found missing; seconds_to_repair: from there to the last of
-- its slots being filled, or proven to have no candle. Both are means; the look is once a minute.
-- watched_share: minutes that have a health report, of all since the first one; uptime_share: those whose report is
-- healthy or degraded.
create view hl.pipeline_stats_24h as
with market_clock as (
    select case when abs(extract(epoch from shift)) < 60 then now() else now() + shift end as until
    from (
        select coalesce(
            (select asked_at - recorded_at from hl.fetch order by fetch_id desc limit 1), interval '0'
        ) as shift
    ) as newest
),

moment as (
    select until - interval '24 hours' as since, until from market_clock
),

requests as (
    select
        coalesce(sum(request.rows) filter (where request.status = 'landed'), 0)::bigint as points,
        count(*) filter (where request.request_type <> 'candle stream') as api_calls,
        coalesce(sum(request.weight), 0)::bigint as weight,
        count(*) filter (where request.status = 'failed') as errors,
        coalesce(sum(request.refused), 0)::bigint as answers_429,
        coalesce(sum(request.rejected), 0)::bigint as rejected_rows
    from moment
    join hl.fetch as request
        on request.recorded_at > now() - interval '24 hours'
        and request.asked_at > moment.since
        and request.asked_at <= moment.until + interval '1 minute'
),

revised as (
    select count(*) as revisions
    from moment
    join hl.candle_revision as revision on revision.replaced_at > moment.since
),

gaps as (
    select
        count(*) filter (where episode.found_at > moment.since) as gaps_found,
        count(*) filter (where episode.outcome in ('filled', 'empty')) as gaps_healed,
        count(*) filter (where episode.outcome = 'lost') as gaps_lost,
        count(*) filter (where episode.closed_at is null) as gaps_open,
        extract(epoch from avg(episode.found_at - episode.missing_since) filter (
            where episode.found_at > moment.since
        ))::float8 as seconds_to_detect,
        extract(epoch from avg(episode.closed_at - episode.found_at) filter (
            where episode.outcome in ('filled', 'empty')
        ))::float8 as seconds_to_repair
    from moment
    join hl.gap_episode as episode
        on episode.found_at > moment.since or episode.closed_at > moment.since or episode.closed_at is null
),

alerts as (
    select
        count(*) filter (where alert.first_seen > moment.since) as alerts_raised,
        count(*) filter (where alert.resolved_at > moment.since) as alerts_resolved
    from moment
    join hl.alert on alert.first_seen > moment.since or alert.resolved_at > moment.since
),

watched as (
    select
        greatest(moment.since, (select min(logged_at) from hl.system_health_log)) as watched_since,
        moment.until,
        count(distinct date_trunc('minute', report.logged_at)) as reports,
        count(distinct date_trunc('minute', report.logged_at)) filter (
            where report.status in ('healthy', 'degraded')
        ) as up,
        avg(report.score)::float8 as mean_score
    from moment
    left join hl.system_health_log as report
        on report.logged_at > moment.since and report.logged_at <= moment.until + interval '1 minute'
    group by moment.since, moment.until
),

shares as (
    select
        watched.*,
        greatest(ceil(extract(epoch from until - watched_since) / 60), reports, 1) as minutes
    from watched
)

select
    moment.since,
    moment.until,
    requests.*,
    revised.revisions,
    gaps.*,
    alerts.*,
    shares.reports,
    shares.mean_score,
    case when shares.reports > 0 then (shares.reports / shares.minutes)::float8 end as watched_share,
    case when shares.reports > 0 then (shares.up / shares.minutes)::float8 end as uptime_share
from moment
cross join requests
cross join revised
cross join gaps
cross join alerts
cross join shares;
