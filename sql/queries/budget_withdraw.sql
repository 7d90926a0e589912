-- Forgets that somebody waits for weight; what it was let through for stays counted.
delete from hl.rate_limit_claim where key = %(key)s and waiter = %(waiter)s
