-- Makes these the endpoints in use, in this order; others keep their history and are asked no more.
with wanted as (
    select url, (place - 1)::smallint as priority
    from unnest(%(urls)s::text[]) with ordinality as listed (url, place)
),

retired as (
    update hl.endpoint
    set priority = null, disagrees_since = null, updated_at = clock_timestamp()
    where priority is not null and url <> all(%(urls)s::text[])
)

insert into hl.endpoint (url, priority)
select url, priority from wanted
on conflict (url) do update set priority = excluded.priority, updated_at = clock_timestamp()
where endpoint.priority is distinct from excluded.priority;
