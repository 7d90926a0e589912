-- Takes the installation's one place for a stream until the session ends; false when another session has it.
select pg_try_advisory_lock(hashtextextended('hl.stream', 0))
