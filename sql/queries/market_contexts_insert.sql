-- Stores what the exchange quoted for each market at one instant.
insert into hl.market_context (
    market_id, seen_at, mark_price, oracle_price, mid_price, previous_day_price, funding, premium, open_interest,
    day_notional_volume, day_base_volume, fetch_id
)
select
    market.market_id, %(seen_at)s, mark_price, oracle_price, mid_price, previous_day_price, funding, premium,
    open_interest, day_notional_volume, day_base_volume, %(fetch_id)s
from jsonb_to_recordset(%(contexts)s) as offered (
    coin text, mark_price numeric, oracle_price numeric, mid_price numeric, previous_day_price numeric,
    funding numeric, premium numeric, open_interest numeric, day_notional_volume numeric, day_base_volume numeric
)
join hl.market using (coin)
where %(tracked_only)s is false or market.tracked
on conflict (market_id, seen_at) do nothing
