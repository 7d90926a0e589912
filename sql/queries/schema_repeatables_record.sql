-- Records the content of the repeatable files as they were just applied.
insert into hl.schema_repeatable (name, checksum)
select file.name, file.checksum from unnest(%(names)s::text[], %(checksums)s::text[]) as file (name, checksum)
on conflict (name) do update set checksum = excluded.checksum, applied_at = clock_timestamp()
