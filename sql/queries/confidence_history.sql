-- Which scores were kept of one series since an instant, oldest first?
select series.series_id, market.coin, series.interval, hl.epoch_ms(kept.scored_at), kept.score, kept.grade, kept.weakest, kept.reasons, kept.components
from hl.market
join hl.series using (market_id)
join hl.confidence as kept using (series_id)
where market.coin = %(coin)s
    and series.interval = %(interval)s
    and kept.scored_at >= %(since)s
order by kept.scored_at
