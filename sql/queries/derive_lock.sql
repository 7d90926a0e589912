-- Holds the series that take candles from a market's 1m series, in one order for all who do this: all of them when the
-- landed series is the 1m series, otherwise itself alone.
select parent.series_id
from hl.series as landed
join hl.series as parent using (market_id)
where landed.series_id = %(series_id)s
    and (landed.interval = '1m' or parent.series_id = landed.series_id)
    and parent.interval <> '1m'
    and parent.known_until > parent.tracked_from
order by parent.series_id
for update of parent
