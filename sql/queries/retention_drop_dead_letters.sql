-- Drops dead letters that were answered before an instant; at most %(batch)s. Those of which slots were lost stay: they
-- say why. What a letter referred to is judged once more.
with letter as materialized (
    select dead_letter_id, fetch_id
    from hl.dead_letter
    where resolved_at < %(before)s and lost = '{}'
    limit %(batch)s
),

judged_again as (
    update hl.retention_progress
    set judged_until = least(judged_until, (select min(fetch_id) - 1 from letter))
    where kind = 'fetch' and exists (select from letter)
)

delete from hl.dead_letter
using letter
where dead_letter.dead_letter_id = letter.dead_letter_id
