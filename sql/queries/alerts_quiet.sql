-- Which open alerts of a rule were not seen again since an instant?
select fingerprint
from hl.alert
where rule = %(rule)s and resolved_at is null and last_seen <= %(since)s
order by fingerprint
