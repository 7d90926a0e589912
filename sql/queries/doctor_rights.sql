-- May we write the pipeline's rows here? Null where its schema is not there yet; then: may we make it?
select
    (
        select has_schema_privilege(oid, 'usage') and has_table_privilege(to_regclass('hl.candle'), 'insert, update, delete')
        from pg_namespace
        where nspname = 'hl'
    ) as may_write,
    has_database_privilege(current_database(), 'create') as may_make
