-- What happened lately to which market: newest first. What the first look at a universe found is no news.
select
    hl.epoch_ms(history.changed_at) as at_ms,
    market.coin,
    history.attribute,
    history.old_value,
    history.new_value
from hl.market_history as history
join hl.market using (market_id)
where
    history.changed_at > %(since)s
    and (
        history.attribute in ('listed', 'is_delisted', 'is_absent', 'renamed_to', 'tracked_by')
        or history.attribute like 'out\_of\_reach\_%%'
    )
    and history.changed_at > (
        select min(other.first_seen) from hl.market as other where other.kind = market.kind and other.dex = market.dex
    )
order by history.changed_at desc, market.coin, history.attribute
limit %(most)s
