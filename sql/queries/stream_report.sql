-- Writes what each socket of the stream says of itself.
insert into hl.stream as stream (
    socket, holder, endpoint, state, subscriptions, connected_at, last_frame_at, lag_ms, reconnects, frames,
    frames_last_minute, rejected, last_error, started_at, updated_at
)
select
    socket, %(holder)s, endpoint, state, subscriptions, connected_at, last_frame_at, lag_ms, reconnects, frames,
    frames_last_minute, rejected, last_error, %(started_at)s, %(now)s
from jsonb_to_recordset(%(sockets)s) as said (
    socket integer, endpoint text, state text, subscriptions integer, connected_at timestamptz,
    last_frame_at timestamptz, lag_ms real, reconnects integer, frames bigint, frames_last_minute integer,
    rejected bigint, last_error text
)
on conflict (socket) do update
set
    holder = excluded.holder, endpoint = excluded.endpoint, state = excluded.state,
    subscriptions = excluded.subscriptions, connected_at = excluded.connected_at,
    last_frame_at = excluded.last_frame_at, lag_ms = excluded.lag_ms, reconnects = excluded.reconnects,
    frames = excluded.frames, frames_last_minute = excluded.frames_last_minute, rejected = excluded.rejected,
    last_error = excluded.last_error, started_at = excluded.started_at, updated_at = excluded.updated_at
