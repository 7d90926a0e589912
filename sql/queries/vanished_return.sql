-- Which vanished rows does this answer hold again? They are vanished no more.
update hl.vanished_row
set seen_again_at = %(asked_at)s
where
    series_id = %(series_id)s
    and seen_again_at is null
    and last_absent_fetch < %(fetch_id)s
    and open_time >= %(first)s and open_time <= %(last)s
    and not open_time <@ %(holes)s::tstzmultirange
