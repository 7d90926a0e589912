-- Drops the fetches that nothing refers to among the next %(batch)s older than an instant, and remembers how far that
-- was; returns how many were looked at and how many dropped. Refused rows of a dropped fetch go with it.
with judged as materialized (
    select fetch_id, is_referenced
    from hl.judged_fetches(
        coalesce((select judged_until from hl.retention_progress where kind = 'fetch'), 0), %(before)s, %(batch)s
    )
),

dropped as (
    delete from hl.fetch as old
    using judged
    where old.fetch_id = judged.fetch_id and not judged.is_referenced
    returning old.fetch_id
),

remembered as (
    insert into hl.retention_progress (kind, judged_until)
    select 'fetch', max(fetch_id) from judged having max(fetch_id) is not null
    on conflict (kind) do update set judged_until = excluded.judged_until
)

select (select count(*) from judged), (select count(*) from dropped)
