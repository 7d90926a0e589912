-- How many rows of each kind are due, on how many bytes of data, the oldest of when? A bound that is null: none.
-- The conditions are those of the statements retention_drop_*.
select 'resolved alerts' as kind, count(*) as rows, coalesce(sum(pg_column_size(alert.*)), 0)::bigint as bytes,
    hl.epoch_ms(min(resolved_at)) as oldest_ms
from hl.alert
where resolved_at < %(alerts)s
    and not exists (select from hl.alert_outbox where alert_outbox.alert_id = alert.alert_id and taken_at is null)
union all
select 'told incidents', count(*), coalesce(sum(pg_column_size(incident.*)), 0)::bigint,
    hl.epoch_ms(min(resolved_at))
from hl.alert_incident as incident
where resolved_at < %(alerts)s
    and not exists (
        select from hl.alert_notice as notice
        join hl.alert_delivery as delivery using (notice_id)
        where notice.incident_id = incident.incident_id and delivery.sent_at is null
            and delivery.due_at >= %(alerts)s
    )
union all
select 'ended silences', count(*), coalesce(sum(pg_column_size(silence.*)), 0)::bigint, hl.epoch_ms(min(until))
from hl.alert_silence as silence
where until < %(alerts)s
union all
select 'health log', count(*), coalesce(sum(pg_column_size(line.*)), 0)::bigint, hl.epoch_ms(min(logged_at))
from hl.system_health_log as line
where logged_at < %(logs)s
union all
select 'confidence history', count(*), coalesce(sum(pg_column_size(score.*)), 0)::bigint,
    hl.epoch_ms(min(scored_at))
from hl.confidence as score
where scored_at < %(logs)s
    and exists (
        select from hl.confidence as newer
        where newer.series_id = score.series_id and newer.scored_at > score.scored_at
    )
union all
select 'endpoint disagreements', count(*), coalesce(sum(pg_column_size(seen.*)), 0)::bigint,
    hl.epoch_ms(min(seen_at))
from hl.endpoint_disagreement as seen
where seen_at < %(logs)s
union all
select 'settled dead letters', count(*), coalesce(sum(pg_column_size(letter.*)), 0)::bigint,
    hl.epoch_ms(min(resolved_at))
from hl.dead_letter as letter
where resolved_at < %(logs)s and lost = '{}'
union all
select 'closed gap episodes', count(*), coalesce(sum(pg_column_size(episode.*)), 0)::bigint,
    hl.epoch_ms(min(closed_at))
from hl.gap_episode as episode
where closed_at < %(logs)s and outcome <> 'lost'
