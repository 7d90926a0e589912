-- Gives the place for a stream back; the pooled session that held it lives on.
select pg_advisory_unlock(hashtextextended('hl.stream', 0))
