-- How many requests have waited for an answer for so long that nobody can still be waiting for it?
select count(*)
from hl.fetch
where status = 'asked' and recorded_at < clock_timestamp() - %(after)s::interval
