-- Records scores, one row a series, unless the newest row says the same and is younger than an hour.
insert into hl.confidence (series_id, scored_at, score, grade, weakest, components, reasons)
select scored.series_id, %(scored_at)s, scored.score, scored.grade, scored.weakest, scored.components, scored.reasons
from jsonb_to_recordset(%(scores)s::jsonb) as scored (
    series_id integer, score real, grade text, weakest text, components jsonb, reasons jsonb
)
where
    not exists (
        select
        from (
            select confidence.* from hl.confidence
            where confidence.series_id = scored.series_id order by confidence.scored_at desc limit 1
        ) as newest
        where
            newest.scored_at > %(scored_at)s::timestamptz - interval '1 hour'
            and abs(newest.score - scored.score) < 0.005
            and newest.grade = scored.grade
            and newest.weakest = scored.weakest
    )
on conflict (series_id, scored_at) do nothing
