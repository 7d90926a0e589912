-- Which migrations and which repeatable files has this database seen? Makes the tables that answer it.
do $$
begin
    create schema if not exists hl;
    create table if not exists hl.schema_version (
        version integer primary key,
        description text not null,
        checksum text not null,
        applied_at timestamptz not null default clock_timestamp(),
        took_ms integer not null
    );
    create table if not exists hl.schema_repeatable (
        name text primary key,
        checksum text not null,
        applied_at timestamptz not null default clock_timestamp()
    );
end
$$
