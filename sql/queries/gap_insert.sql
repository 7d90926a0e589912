-- Writes a series' gaps.
insert into hl.gap (series_id, slots, reason, attempts, first_absent_at, next_try, deadline, is_dead)
select %(series_id)s, tstzrange(starts, ends), reason, attempts, first_absent_at, next_try, deadline, is_dead
from unnest(
    %(starts)s::timestamptz[], %(ends)s::timestamptz[], %(reasons)s::text[], %(attempts)s::integer[],
    %(first_absent)s::timestamptz[], %(next_tries)s::timestamptz[], %(deadlines)s::timestamptz[],
    %(are_dead)s::boolean[]
) as gap (starts, ends, reason, attempts, first_absent_at, next_try, deadline, is_dead)
