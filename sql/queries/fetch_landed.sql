-- Completes a request's record in the transaction that stores its rows.
update hl.fetch
set status = 'landed', error = null, endpoint = %(endpoint)s, rows = %(rows)s, rejected = %(rejected)s, weight = %(weight)s,
    latency_ms = %(latency_ms)s, sha256 = %(sha256)s, http_status = %(http_status)s,
    retries = %(retries)s, refused = %(refused)s
where fetch_id = %(fetch_id)s
