-- Since when does the database server run, and when was the first health report kept?
select hl.epoch_ms(pg_postmaster_start_time()), (select hl.epoch_ms(min(logged_at)) from hl.system_health_log)
