-- The ways to the exchange: how each of them stands, for all processes, and where two of them said different things.

create table hl.endpoint (
    url text primary key,
    priority smallint check (priority >= 0),
    state text not null default 'closed' check (state in ('closed', 'open', 'half_open')),
    errors integer not null default 0 check (errors >= 0),
    recent_errors integer not null default 0 check (recent_errors >= 0),
    unsteady_until timestamptz,
    successes integer not null default 0 check (successes >= 0),
    reopens integer not null default 0 check (reopens >= 0),
    opened_at timestamptz,
    closed_at timestamptz,
    next_probe_at timestamptz,
    probe_until timestamptz,
    probed_at timestamptz,
    answered_at timestamptz,
    latency_ms real check (latency_ms >= 0),
    lag_ms bigint,
    candle_lag_ms bigint,
    compared_at timestamptz,
    disagrees_since timestamptz,
    last_error text,
    failure text check (failure in ('unreachable', 'bad_answer', 'rate_limited')),
    failed_at timestamptz,
    updated_at timestamptz not null default clock_timestamp(),
    check ((state = 'closed') = (next_probe_at is null)),
    check (state = 'closed' or opened_at is not null)
);
comment on table hl.endpoint is
'where the exchange can be asked, with a breaker each; kept by the server''s clock, or by the simulated one of a simulation';
comment on column hl.endpoint.url is 'as in hl.fetch.endpoint';
comment on column hl.endpoint.priority is '0 is the primary; null: not in the settings any more';
comment on column hl.endpoint.state is
'closed: asked; open: rests until next_probe_at; half_open: one request at a time finds out whether it is well again';
comment on column hl.endpoint.errors is 'failures in a row';
comment on column hl.endpoint.recent_errors is 'failures less than a minute apart, whatever was answered in between';
comment on column hl.endpoint.unsteady_until is 'it failed often of late: until then it is asked after the steady ones';
comment on column hl.endpoint.successes is 'probes passed since it is half open';
comment on column hl.endpoint.reopens is 'how often it opened again soon after it was closed; each time it rests twice as long';
comment on column hl.endpoint.probe_until is 'somebody has its one probe until then; null: nobody';
comment on column hl.endpoint.probed_at is 'when its clock was last asked, for health alone';
comment on column hl.endpoint.latency_ms is 'smoothed time of a probe; every endpoint is asked the same';
comment on column hl.endpoint.lag_ms is 'our clock less its clock at the last probe';
comment on column hl.endpoint.candle_lag_ms is 'how far its newest candle was behind the others'' at the last comparison';
comment on column hl.endpoint.compared_at is 'when its candles were last held against another''s';
comment on column hl.endpoint.disagrees_since is 'since when its candles differ from those of a higher priority';

create table hl.endpoint_disagreement (
    disagreement_id bigint generated always as identity primary key,
    seen_at timestamptz not null,
    primary_url text not null references hl.endpoint,
    other_url text not null references hl.endpoint,
    coin text not null,
    interval text not null,
    open_time timestamptz not null,
    primary_candle jsonb,
    other_candle jsonb,
    check (primary_url <> other_url),
    check (primary_candle is not null or other_candle is not null)
);
comment on table hl.endpoint_disagreement is
'closed candles of which two endpoints said different things, each time it was seen; the primary''s counts';
comment on column hl.endpoint_disagreement.seen_at is 'market time';
comment on column hl.endpoint_disagreement.primary_candle is 'o h l c v n as it said them; null: it had no such row';
create index endpoint_disagreement_seen on hl.endpoint_disagreement (other_url, seen_at);
