-- How much of a month is settled, counted when it is entered: whoever asks how complete a year is need not take a year of
-- ranges apart.

create function hl.seconds_in(instants tstzmultirange)
returns bigint
language sql immutable strict parallel safe
return (
    select coalesce(sum(extract(epoch from upper(span) - lower(span))), 0)::bigint
    from unnest(instants) as span
);

alter table hl.coverage
    add column final_seconds bigint not null generated always as (hl.seconds_in(final)) stored,
    add column empty_seconds bigint not null generated always as (hl.seconds_in(empty)) stored,
    add column lost_seconds bigint not null generated always as (hl.seconds_in(lost)) stored;
comment on column hl.coverage.final_seconds is 'how long the final slots are together; by the interval''s length that is their number';
