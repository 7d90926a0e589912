-- Which repeatable files were applied, and with which content?
select name, checksum from hl.schema_repeatable
