-- How many dead letters are resolved by slots that were answered or lost?
select hl.settle_dead_letters(%(series_id)s, %(freed)s::tstzmultirange, %(lost)s::tstzmultirange, %(now)s)
