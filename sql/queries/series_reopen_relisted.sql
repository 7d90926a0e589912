-- A market that trades again is expected to have candles again.
update hl.series
set ended_at = null
from hl.market
where market.market_id = series.market_id and not market.is_delisted and series.ended_at is not null
