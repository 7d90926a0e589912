-- What did the candle requests asked since an instant weigh, lane by lane?
select lane, coalesce(sum(weight), 0)
from hl.fetch
where request_type = 'candleSnapshot' and asked_at >= %(since)s
group by lane
