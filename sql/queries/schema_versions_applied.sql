-- Which migrations were applied, and with which content?
select version, description, checksum from hl.schema_version order by version
