-- Takes the database's one place for an `hl up` until the session ends; false when another session has it.
select pg_try_advisory_lock(hashtextextended('hl.up', 0))
