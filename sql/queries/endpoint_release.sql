-- Gives back a probe that was not made.
update hl.endpoint set probe_until = null, updated_at = clock_timestamp()
where url = %(url)s and state = 'half_open';
