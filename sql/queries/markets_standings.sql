-- Where does every market stand: what is it, does the exchange still name it, and why is it collected?
select
    coin,
    kind = 'perp' as is_perp,
    is_delisted,
    absent_since is not null as is_absent,
    tracked_by,
    hl.epoch_ms(outside_since) as outside_since_ms
from hl.market
order by coin
