-- Notes that a market's funding has ended. Only a delisted market's can, and a last rate may come in its last hour.
update hl.market
set funding_ended_at = %(asked_at)s
where market_id = %(market_id)s and is_delisted and delisted_seen + interval '2 hours' <= %(asked_at)s
