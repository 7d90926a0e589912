-- What did ended processes leave: sessions, advisory locks, places in the queue, reservations, leases, open requests?
-- Who was let through keeps a place at the end of his lane for six seconds, in which he is likely to be back.
select
    (
        select count(*) from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'
    ) as sessions,
    (
        select count(*) from pg_locks
        where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())
    ) as advisory_locks,
    (
        select count(*) from hl.rate_limit_claim as claim
        join hl.rate_limit using (key)
        where claim.asked_at > clock_timestamp() - rate_limit.window_length / 10 and claim.waiting_since < 'infinity'
    ) as claims,
    (
        select count(*) from hl.rate_limit_claim as claim
        join hl.rate_limit using (key)
        where claim.asked_at > clock_timestamp() - rate_limit.window_length / 10 and claim.waiting_since = 'infinity'
    ) as places,
    (
        select count(*) from hl.rate_limit_spend as spend
        join hl.rate_limit using (key)
        where not spend.settled and spend.at > clock_timestamp() - rate_limit.window_length
    ) as unsettled,
    (select count(*) from hl.lease where held_until > clock_timestamp()) as leases,
    (select count(*) from hl.fetch where status = 'asked') as asked
