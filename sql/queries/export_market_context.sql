-- Which quotes does a month hold, as they go into a file? By market and time, so that like lies by like.
-- scales: digits behind the point of each decimal in their order, nothing for one that is not there.
copy (
    select
        market.coin, hl.epoch_ms(quote.seen_at) as seen_at,
        quote.mark_price, quote.oracle_price, quote.mid_price, quote.previous_day_price, quote.funding, quote.premium,
        quote.open_interest, quote.day_notional_volume, quote.day_base_volume,
        concat_ws(
            ',', scale(quote.mark_price), coalesce(scale(quote.oracle_price)::text, ''),
            coalesce(scale(quote.mid_price)::text, ''), coalesce(scale(quote.previous_day_price)::text, ''),
            coalesce(scale(quote.funding)::text, ''), coalesce(scale(quote.premium)::text, ''),
            coalesce(scale(quote.open_interest)::text, ''), scale(quote.day_notional_volume),
            coalesce(scale(quote.day_base_volume)::text, '')
        ) as scales,
        quote.fetch_id
    from hl.market_context as quote
    join hl.market using (market_id)
    where quote.seen_at >= %(starts)s and quote.seen_at < %(ends)s
    order by quote.market_id, quote.seen_at
) to stdout (format csv, header)
