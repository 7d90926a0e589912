-- Closes the records of requests whose process ended before the answer: so long nobody waits for one.
update hl.fetch
set status = 'failed', error = 'the process ended before this was answered'
where status = 'asked' and recorded_at < clock_timestamp() - %(after)s::interval
