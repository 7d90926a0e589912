-- Where a file's quotes stand before they go back; this session's own, gone with the transaction.
create temp table staging_restore_market_context (
    coin text, seen_at bigint, mark_price numeric, oracle_price numeric, mid_price numeric,
    previous_day_price numeric, funding numeric, premium numeric, open_interest numeric, day_notional_volume numeric,
    day_base_volume numeric, fetch_id bigint
) on commit drop
