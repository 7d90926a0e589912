-- Drops the rows of a lane that are older than it is kept.
delete from hl.performance_history
where lane = %(lane)s and started_at < %(before)s
