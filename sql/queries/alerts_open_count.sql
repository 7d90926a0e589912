-- How many alerts of a rule are open?
select count(*) from hl.alert where rule = %(rule)s and resolved_at is null
