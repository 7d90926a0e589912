-- Which of the wanted coins does the exchange not have?
select wanted.coin
from unnest(%(coins)s::text[]) as wanted (coin)
where not exists (select from hl.market where market.coin = wanted.coin)
order by wanted.coin
