-- A day of scores, one an hour and series.
insert into hl.confidence (series_id, scored_at, score, grade, weakest, components, reasons)
select
    series_id, scored_at, 1, 'excellent', 'freshness',
    (
        select jsonb_object_agg(
            name, jsonb_build_object('score', 1, 'weight', 0.2, 'numbers', '{"due": 1440, "missing": 0}'::jsonb, 'reason', 'as it should be')
        )
        from unnest(array['completeness', 'freshness', 'validity', 'agreement', 'provenance', 'stability']) as name
    ),
    '[]'
from generate_series(%(edge)s::timestamptz - interval '1 day', %(edge)s, interval '1 hour') as scored_at
cross join scale.series
order by scored_at, series_id
