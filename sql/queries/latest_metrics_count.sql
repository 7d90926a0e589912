-- How many latest metrics are there, and what share of them is trusted (confidence >= .75)? No score is no trust.
select count(*), (count(*) filter (where confidence >= 0.75))::double precision / nullif(count(*), 0)
from hl.latest
