-- Records that a migration was applied; stands in the migration's own transaction.
insert into hl.schema_version (version, description, checksum, took_ms)
values (%(version)s, %(description)s, %(checksum)s, %(took_ms)s)
