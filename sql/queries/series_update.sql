-- Writes what an answer taught about the series itself: where it begins and ends, how far it is known.
update hl.series
set tracked_from = %(tracked_from)s, known_until = %(known_until)s, first_open = %(first_open)s,
    ended_at = %(ended_at)s, emits_quiet_rows = %(emits_quiet_rows)s,
    reread_at = %(reread_at)s::timestamptz[],
    last_asked_at = greatest(last_asked_at, %(asked_at)s)
where series_id = %(series_id)s
