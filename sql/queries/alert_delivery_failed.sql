-- The channel did not take it: it is due again later, and so is whatever else waits for this channel, so that a sink
-- that is down is asked once and not once a notice. Says nothing of a delivery that another process has taken over.
update hl.alert_delivery
set
    due_at = greatest(due_at, %(due)s),
    claimed_until = case when notice_id <> %(notice_id)s then claimed_until end,
    last_error = case when notice_id = %(notice_id)s then %(error)s else last_error end
where
    channel = %(channel)s
    and sent_at is null
    and case when notice_id = %(notice_id)s then attempts = %(attempts)s else true end
