-- Counts a failure of gap slots; the dead letters that died of it, or again.
select hl.record_failure(
    %(series_id)s, %(slots)s::tstzmultirange, %(kind)s, %(failed_at)s, %(error)s, %(request)s, %(fetch_id)s
)
