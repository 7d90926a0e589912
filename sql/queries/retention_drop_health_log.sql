-- Drops lines of the health log from before an instant; at most %(batch)s.
delete from hl.system_health_log
where logged_at in (
    select logged_at from hl.system_health_log where logged_at < %(before)s order by logged_at limit %(batch)s
)
