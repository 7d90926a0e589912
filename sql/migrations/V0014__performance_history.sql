-- How each run of the live, gap and back-fill lanes fared: what service levels and regressions are judged by.

create table hl.performance_history (
    run_id text primary key,
    lane text not null check (lane in ('live', 'gap', 'backfill')),
    started_at timestamptz not null,
    asked_from timestamptz not null,
    succeeded boolean not null,
    seconds real not null check (seconds >= 0),
    requests integer not null check (requests >= 0),
    failed integer not null check (failed between 0 and requests),
    refused integer not null check (refused >= 0),
    weight integer not null check (weight >= 0),
    candles bigint not null check (candles >= 0),
    p50_ms real check (p50_ms >= 0),
    p99_ms real check (p99_ms >= 0),
    peak_memory_mb real not null check (peak_memory_mb > 0),
    cpu_seconds real not null check (cpu_seconds >= 0),
    candles_per_second real generated always as (case when candles > 0 and seconds > 0 then candles / seconds end) stored
);
comment on table hl.performance_history is 'one row a run of Dagster; 90 days of each lane are kept';
comment on column hl.performance_history.started_at is 'market time';
comment on column hl.performance_history.asked_from is 'this server''s own clock; the run''s rows of hl.fetch were recorded since';
comment on column hl.performance_history.seconds is 'of planning, asking and landing, waits for request weight included';
comment on column hl.performance_history.failed is 'candle requests that were sent and got no usable answer';
comment on column hl.performance_history.refused is 'answers of 429 met on the way, healed by waiting or not';
comment on column hl.performance_history.candles is 'rows received and not refused';
comment on column hl.performance_history.p50_ms is 'of the answered requests; null when there was none';
comment on column hl.performance_history.peak_memory_mb is 'the most the run''s process ever held; 1 MB is 1,000,000 bytes';
comment on column hl.performance_history.cpu_seconds is 'of the run''s process since it began, user and system';
comment on column hl.performance_history.candles_per_second is 'null when none was received';
create index performance_history_lane on hl.performance_history (lane, started_at);
