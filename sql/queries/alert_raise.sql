-- Opens an alert, or counts it again when one with this fingerprint is open. is_new tells which.
insert into hl.alert (fingerprint, severity, rule, labels, summary, next_step, first_seen, last_seen)
values (%(fingerprint)s, %(severity)s, %(rule)s, %(labels)s, %(summary)s, %(next_step)s, %(now)s, %(now)s)
on conflict (fingerprint) where resolved_at is null
do update set
    last_seen = greatest(alert.last_seen, excluded.last_seen),
    times_seen = alert.times_seen + 1,
    severity = excluded.severity,
    summary = excluded.summary,
    next_step = excluded.next_step
returning alert_id, times_seen = 1 as is_new
