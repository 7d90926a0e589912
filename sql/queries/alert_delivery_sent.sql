-- The channel took it.
update hl.alert_delivery set sent_at = %(now)s, claimed_until = null, last_error = null
where notice_id = %(notice_id)s and channel = %(channel)s and sent_at is null
