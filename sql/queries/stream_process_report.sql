-- Writes what the stream's process says of itself as a whole.
insert into hl.stream_process as process (
    holder, series, watching_since, watched_until, queued, overflowed, landed, closed, memory_bytes, stopped_at,
    started_at, updated_at
)
values (
    %(holder)s, %(series)s, %(watching_since)s, %(watched_until)s, %(queued)s, %(overflowed)s, %(landed)s, %(closed)s,
    %(memory_bytes)s, %(stopped_at)s, %(started_at)s, %(now)s
)
on conflict (only_row) do update
set
    holder = excluded.holder, series = excluded.series, watching_since = excluded.watching_since,
    watched_until = excluded.watched_until, queued = excluded.queued, overflowed = excluded.overflowed,
    landed = excluded.landed, closed = excluded.closed, memory_bytes = excluded.memory_bytes,
    stopped_at = excluded.stopped_at, started_at = excluded.started_at, updated_at = excluded.updated_at
