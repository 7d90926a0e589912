-- Drops scores from before an instant, but never a series' newest; at most %(batch)s.
delete from hl.confidence
where (series_id, scored_at) in (
    select series_id, scored_at
    from hl.confidence as score
    where scored_at < %(before)s
        and exists (
            select from hl.confidence as newer
            where newer.series_id = score.series_id and newer.scored_at > score.scored_at
        )
    limit %(batch)s
)
