-- Has this database ever been migrated?
select to_regclass('hl.schema_version') is not null and to_regclass('hl.schema_repeatable') is not null
