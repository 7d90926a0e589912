-- Drops gap episodes that closed before an instant, but none in which slots were lost; at most %(batch)s.
delete from hl.gap_episode
where episode_id in (
    select episode_id
    from hl.gap_episode
    where closed_at < %(before)s and outcome <> 'lost'
    order by closed_at
    limit %(batch)s
)
