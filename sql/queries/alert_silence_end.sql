-- Ends a silence now.
update hl.alert_silence set until = greatest(since, %(now)s)
where silence_id = %(silence_id)s and until > %(now)s
