-- Every series is known up to the edge, and was read again lately.
update hl.series
set
    known_until = date_bin(step, %(edge)s, timestamptz '1970-01-01 00:00:00+00'),
    last_asked_at = %(edge)s,
    reread_at = case when interval = '1m' then array[%(edge)s, %(edge)s]::timestamptz[] else array[%(edge)s]::timestamptz[] end
