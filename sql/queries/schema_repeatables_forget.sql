-- Forgets repeatable files that no longer exist.
delete from hl.schema_repeatable where name <> all (%(names)s::text[])
