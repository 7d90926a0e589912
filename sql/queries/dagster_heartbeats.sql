-- How many seconds ago did each thread of Dagster's daemon last speak, and did it speak of an error?
-- Dagster keeps UTC without a zone.
select
    daemon_type,
    extract(epoch from clock_timestamp() at time zone 'UTC' - timestamp)::float8 as silent_s,
    coalesce(jsonb_array_length(nullif(body::jsonb -> 'errors', 'null')), 0) > 0 as is_ailing
from daemon_heartbeats
order by daemon_type
