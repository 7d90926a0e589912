-- Which database is this, wherever a dump of it was restored? Nothing before it is claimed for a venue.
select format('%s, of %s', venue, to_char(created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))
from hl.installation
