-- What does the stream say of itself? Its process as a whole and the sockets it holds; no row if none ever ran.
select
    process.holder,
    hl.epoch_ms(process.updated_at) as updated_ms,
    hl.epoch_ms(process.started_at) as started_ms,
    hl.epoch_ms(process.stopped_at) as stopped_ms,
    process.series,
    hl.epoch_ms(process.watching_since) as watching_since_ms,
    hl.epoch_ms(process.watched_until) as watched_until_ms,
    process.queued,
    process.overflowed,
    process.closed,
    process.memory_bytes,
    coalesce(sockets.held, 0) as sockets,
    coalesce(sockets.connected, 0) as connected,
    sockets.last_frame_ms,
    sockets.lag_ms,
    coalesce(sockets.reconnects, 0) as reconnects,
    coalesce(sockets.frames_last_minute, 0) as frames_last_minute,
    coalesce(sockets.rejected, 0) as rejected,
    sockets.last_error,
    sockets.endpoint
from hl.stream_process as process
left join lateral (
    select
        count(*)::integer as held,
        (count(*) filter (where state = 'connected'))::integer as connected,
        hl.epoch_ms(min(last_frame_at)) as last_frame_ms,
        max(lag_ms) as lag_ms,
        sum(reconnects)::integer as reconnects,
        sum(frames_last_minute)::integer as frames_last_minute,
        sum(rejected)::bigint as rejected,
        (array_agg(last_error order by updated_at desc) filter (where last_error is not null))[1] as last_error,
        (array_agg(endpoint order by socket))[1] as endpoint
    from hl.stream
) as sockets on true
