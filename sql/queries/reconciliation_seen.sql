-- Which derived candles did the venue's own answer find wrong in the last day? The newest first, with the value that
-- had been derived and the one that replaced it.
select
    market.coin,
    series.interval,
    hl.epoch_ms(made.open_time) as open_ms,
    hl.epoch_ms(made.replaced_at) as seen_ms,
    array[made.open::text, made.high::text, made.low::text, made.close::text, made.volume::text, made.trades::text] as made,
    array[
        venue.open::text, venue.high::text, venue.low::text, venue.close::text, venue.volume::text, venue.trades::text
    ] as venue
from hl.candle_revision as made
join hl.series using (series_id)
join hl.market using (market_id)
join hl.fetch as answer on answer.fetch_id = made.replaced_by and answer.interval = series.interval
cross join lateral (
    select * from (
        select later.open, later.high, later.low, later.close, later.volume, later.trades, later.replaced_by as place
        from hl.candle_revision as later
        where
            later.series_id = made.series_id and later.open_time = made.open_time
            and later.replaced_by > made.replaced_by
        union all
        select now.open, now.high, now.low, now.close, now.volume, now.trades, 9223372036854775807
        from hl.candle as now
        where now.series_id = made.series_id and now.open_time = made.open_time
    ) as next
    order by place
    limit 1
) as venue
where
    market.tracked
    and made.source = 'd'
    and made.finality = 'f'
    and made.replaced_at > %(now)s::timestamptz - interval '1 day'
    and (
        (made.open, made.high, made.low, made.close, made.trades)
        is distinct from (venue.open, venue.high, venue.low, venue.close, venue.trades)
        or abs(made.volume - venue.volume) > 1e-9 * greatest(made.volume, venue.volume)
    )
order by made.replaced_at desc, made.open_time desc, market.coin
