-- The instant as the pipeline writes it: milliseconds since the epoch, UTC.
create or replace function hl.epoch_ms(instant timestamptz)
returns bigint
language sql immutable strict parallel safe
return (extract(epoch from instant) * 1000)::bigint;
