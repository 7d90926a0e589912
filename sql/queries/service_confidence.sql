-- Of the hours since an instant in which a series was scored: how many, and in how many was its mean score high?
select count(*) as scored, count(*) filter (where hours.score >= %(least)s) as high
from (
    select avg(confidence.score) as score
    from hl.series
    join hl.confidence using (series_id)
    where confidence.scored_at >= %(since)s and confidence.scored_at <= %(now)s
    group by series.series_id, date_bin('1 hour', confidence.scored_at, timestamptz '1970-01-01 00:00:00+00')
) as hours
