-- Forgets the failures of slots that got an answer, but not those of a kind with what the answer brought again.
select hl.forget_failures(%(series_id)s, %(answered)s::tstzmultirange, %(refused)s::tstzmultirange)
