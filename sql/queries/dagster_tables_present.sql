-- Has Dagster made its tables in this database?
select to_regclass('daemon_heartbeats') is not null
    and to_regclass('runs') is not null
    and to_regclass('instigators') is not null
