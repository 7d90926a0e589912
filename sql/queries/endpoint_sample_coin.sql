-- Which tracked market is traded most? Its minutes are never quiet, so that endpoints can be compared by them.
select coin
from hl.market
where tracked and not is_delisted and absent_since is null
order by volume_rank nulls last, coin
limit 1;
