-- How many slots of length step the set holds, when its edges lie on the grid.
create or replace function hl.slots_in(instants tstzmultirange, step interval)
returns bigint
language sql immutable strict parallel safe
return (
    select coalesce(round(sum(extract(epoch from upper(span) - lower(span)) / extract(epoch from step))), 0)::bigint
    from unnest(instants) as span
);
