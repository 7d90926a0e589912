-- The latest metrics as the contract suite reads them.
select
    latest.coin,
    latest.metric,
    latest.value,
    latest.unit,
    latest.as_of,
    latest.source,
    latest.confidence,
    -- of a delisted market nothing new is expected
    coalesce(market.is_delisted or market.absent_since is not null, true) as is_delisted
from hl.latest
left join hl.market using (coin)
order by latest.coin, latest.metric
