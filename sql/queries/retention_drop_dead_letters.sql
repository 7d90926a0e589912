-- Drops dead letters that were answered before an instant. Those of which slots were lost stay: they say why.
delete from hl.dead_letter
where dead_letter_id in (
    select dead_letter_id from hl.dead_letter where resolved_at < %(before)s and lost = '{}' limit %(batch)s
)
