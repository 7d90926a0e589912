-- Lets one migration run at a time; held until the session ends.
select pg_advisory_lock(hashtextextended('hl_pipeline.migrations', 0))
