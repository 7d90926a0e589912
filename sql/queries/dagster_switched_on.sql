-- Which schedules and sensors are on?
select instigator_body::jsonb -> 'origin' ->> 'job_name'
from instigators
where status = 'RUNNING'
