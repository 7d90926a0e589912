-- Every market as the contract suite reads it.
select
    coin,
    kind,
    dex,
    sz_decimals,
    max_leverage,
    is_delisted,
    tracked,
    tracked_by,
    volume_rank,
    first_seen,
    last_seen,
    delisted_seen,
    absent_since
from hl.market
order by coin
