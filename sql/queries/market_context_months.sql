-- How many quotes of these markets and months are stored, in how many hours, and since when is each market recorded?
-- The hash covers the quotes in their order.
select
    market.coin,
    hl.epoch_ms(month) as month_ms,
    hl.epoch_ms(month + interval '1 month') as end_ms,
    held.rows,
    held.hours,
    held.hash,
    hl.epoch_ms(recorded.since) as recorded_since_ms,
    hl.epoch_ms(%(now)s::timestamptz) as now_ms,
    exists (
        select from hl.export_file as kept
        where kept.relation = 'market_context' and kept.month = month::date and kept.restored_at is null
    ) as is_exported
from hl.market
cross join unnest(%(months)s::timestamptz[]) as month
cross join lateral (
    select (select seen_at from hl.market_context where market_id = market.market_id order by seen_at limit 1) as since
) as recorded
cross join lateral (
    select
        count(*) as rows,
        count(distinct date_trunc('hour', seen_at)) as hours,
        encode(
            sha256(
                convert_to(
                    string_agg(
                        concat_ws(
                            ' ', hl.epoch_ms(seen_at), mark_price, oracle_price, mid_price, funding, premium,
                            open_interest, day_notional_volume
                        ),
                        E'\n' order by seen_at
                    ),
                    'UTF8'
                )
            ),
            'hex'
        ) as hash
    from hl.market_context as context
    where
        context.market_id = market.market_id
        and context.seen_at >= month
        and context.seen_at < month + interval '1 month'
) as held
where market.coin = any(%(coins)s::text[])
order by market.coin, month
