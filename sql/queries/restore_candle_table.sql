-- Where a file's candles stand before they go back; this session's own, gone with the transaction.
create temp table staging_restore_candle (
    coin text, open_time bigint, open numeric, high numeric, low numeric, close numeric, volume numeric,
    trades integer, finality "char", source "char", fetch_id bigint
) on commit drop
