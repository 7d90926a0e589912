-- Keeps the rows that broke a rule, with the rule, so that nothing received is dropped silently.
insert into hl.rejected_row (fetch_id, position, rule, value, payload)
select %(fetch_id)s, position, rule, value, payload
from unnest(%(positions)s::integer[], %(rules)s::text[], %(values)s::text[], %(payloads)s::text[])
    as rejected (position, rule, value, payload)
on conflict do nothing
