-- Which open alerts on a listing or delisting are over? A listing with its first settled slot, a delisting when every
-- series has ended; either when the market is collected no more, or trades again.
select alert.fingerprint
from hl.alert
join hl.market on market.coin = alert.labels ->> 'coin'
where
    alert.resolved_at is null
    and case alert.rule
        when 'market_listed' then
            not market.tracked
            or exists (select from hl.series join hl.coverage using (series_id) where series.market_id = market.market_id)
        when 'market_delisted' then
            not market.tracked
            or not market.is_delisted
            or not exists (
                select from hl.series where series.market_id = market.market_id and series.ended_at is null
            )
        else false
    end
order by alert.fingerprint
