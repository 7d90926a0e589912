-- Which windows failed for good, why, and what became of them? The newest death first.
select
    letter.dead_letter_id,
    market.coin,
    series.interval,
    letter.kind,
    letter.slots,
    letter.waiting,
    letter.lost,
    letter.attempts,
    letter.error,
    letter.request,
    letter.next_step,
    letter.fetch_id,
    hl.epoch_ms(letter.first_failed_at) as first_failed_ms,
    hl.epoch_ms(letter.died_at) as died_ms,
    hl.epoch_ms(letter.retried_at) as retried_ms,
    hl.epoch_ms(letter.resolved_at) as resolved_ms
from hl.dead_letter as letter
join hl.series using (series_id)
join hl.market using (market_id)
where
    (%(kind)s::text is null or letter.kind = %(kind)s::text)
    and (%(numbers)s::bigint[] is null or letter.dead_letter_id = any(%(numbers)s::bigint[]))
    and (letter.resolved_at is null or not %(only_open)s::boolean)
order by letter.died_at desc, letter.dead_letter_id desc
