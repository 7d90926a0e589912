-- Changes what is given of a rule; null leaves it as it is.
update hl.alert_rule
set
    enabled = coalesce(%(enabled)s, enabled),
    severity = coalesce(%(severity)s, severity),
    threshold = coalesce(%(threshold)s, threshold),
    repeat_every = coalesce(%(repeat_every)s::interval, repeat_every)
where name = %(name)s
