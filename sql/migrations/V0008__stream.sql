-- The live stream: what it says of itself, and how far it has watched each series.

-- One row a socket, written by the process that holds it every few seconds; the process of one installation replaces
-- what the last one wrote.
create table hl.stream (
    socket integer primary key check (socket >= 0),
    holder text not null,
    endpoint text not null,
    state text not null check (state in ('connecting', 'connected', 'waiting', 'stopped')),
    subscriptions integer not null,
    connected_at timestamptz,
    last_frame_at timestamptz,
    lag_ms real,
    reconnects integer not null,
    frames bigint not null,
    frames_last_minute integer not null,
    rejected bigint not null,
    last_error text,
    started_at timestamptz not null,
    updated_at timestamptz not null
);
comment on column hl.stream.state is 'waiting: it pauses before it connects again';
comment on column hl.stream.connected_at is 'since when this connection stands; null while it does not';
comment on column hl.stream.lag_ms is 'from a minute''s close to the arrival of the first frame of the next one, the latest seen';
comment on column hl.stream.rejected is 'frames that broke a rule; none was stored';

-- What the process as a whole does: one row.
create table hl.stream_process (
    only_row boolean primary key default true check (only_row),
    holder text not null,
    series integer not null,
    watching_since timestamptz,
    watched_until timestamptz,
    queued integer not null,
    overflowed bigint not null,
    landed bigint not null,
    closed bigint not null,
    memory_bytes bigint not null,
    stopped_at timestamptz,
    started_at timestamptz not null,
    updated_at timestamptz not null
);
comment on column hl.stream_process.watching_since is 'since when no frame can have been missed; null while it cannot tell';
comment on column hl.stream_process.overflowed is 'frames dropped because the database was away for too long; REST reads their slots';

alter table hl.series add column streamed_until timestamptz;
comment on column hl.series.streamed_until is 'of a 1m series: the stream watched it up to here, so its slots wait for their hourly confirmation';
