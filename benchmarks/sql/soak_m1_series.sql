-- The 1m series.
select series_id from hl.series where interval = '1m'
