-- Opens every alert of a set, or counts it again where one with its fingerprint is open. One row a fingerprint.
insert into hl.alert (fingerprint, severity, rule, labels, summary, next_step, first_seen, last_seen)
select fingerprint, severity, rule, labels, summary, next_step, %(now)s, %(now)s
from
    jsonb_to_recordset(%(found)s::jsonb) as found(
        fingerprint text, severity text, rule text, labels jsonb, summary text, next_step text
    )
order by fingerprint
on conflict (fingerprint) where resolved_at is null
do update set
    last_seen = greatest(alert.last_seen, excluded.last_seen),
    times_seen = alert.times_seen + 1,
    severity = excluded.severity,
    summary = excluded.summary,
    next_step = excluded.next_step
