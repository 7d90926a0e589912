-- How much is stored: candles, final ones, series, revisions?
select
    count(*) as candles,
    count(*) filter (where finality = 'f') as final,
    count(distinct series_id) as series,
    (select count(*) from hl.candle_revision) as revisions
from hl.candle
