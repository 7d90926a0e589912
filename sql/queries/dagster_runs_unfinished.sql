-- Which runs of Dagster have not ended, how many of each job and state, and for how many seconds has the longest been
-- in it?
select
    pipeline_name as job,
    status,
    count(*) as runs,
    max(extract(epoch from clock_timestamp() at time zone 'UTC')
        - coalesce(start_time, extract(epoch from update_timestamp)))::float8 as longest_s
from runs
where status in ('QUEUED', 'NOT_STARTED', 'STARTING', 'STARTED', 'CANCELING')
group by pipeline_name, status
order by pipeline_name, status
