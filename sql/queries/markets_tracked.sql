-- Which markets are collected? Those with the most volume first.
select coin from hl.market where tracked order by volume_rank nulls last, coin
