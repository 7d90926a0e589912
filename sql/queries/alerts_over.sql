-- Closes the open alerts of these rules that were not found this time.
update hl.alert set resolved_at = %(now)s
where rule = any(%(rules)s) and resolved_at is null and fingerprint <> all(%(found)s)
