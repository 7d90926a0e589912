-- The tables of the first release: markets, series, candles, the coverage ledger, provenance, the weight budget,
-- confidence, health and alerts. Times are timestamptz (UTC); spans are half-open.

create schema if not exists hl;

-- Which exchange this database holds the data of; a sandbox's candles must never mix with the real ones.
create table hl.installation (
    only_row boolean primary key default true check (only_row),
    venue text not null check (venue in ('live', 'testnet', 'sandbox')),
    created_at timestamptz not null default now()
);

create table hl.market (
    market_id integer generated always as identity primary key,
    coin text not null unique check (coin ~ '^[A-Za-z0-9@:/_.*?-]{1,64}$'),
    kind text not null check (kind in ('perp', 'spot', 'builder')),
    dex text not null default '',
    sz_decimals smallint not null,
    max_leverage integer,
    is_delisted boolean not null default false,
    tracked boolean not null default false,
    first_seen timestamptz not null,
    last_seen timestamptz not null,
    delisted_seen timestamptz,
    funding_ended_at timestamptz
);
comment on column hl.market.delisted_seen is 'when we first saw the market delisted; the exchange gives no date';
comment on column hl.market.funding_ended_at is 'when an empty answer proved that no funding rate follows the newest stored; holds while not before delisted_seen';

-- One row per attribute that changed: what it was, what it became, when we saw it.
create table hl.market_history (
    market_id integer not null references hl.market,
    changed_at timestamptz not null,
    attribute text not null,
    old_value text,
    new_value text,
    primary key (market_id, changed_at, attribute)
);

create table hl.fetch (
    fetch_id bigint generated always as identity primary key,
    endpoint text not null,
    request_type text not null,
    coin text,
    interval text,
    window_start timestamptz,
    window_end timestamptz,
    lane text not null default 'live',
    run_id text,
    asked_at timestamptz not null,
    status text not null default 'asked' check (status in ('asked', 'landed', 'failed')),
    rows integer,
    rejected integer not null default 0,
    weight integer,
    latency_ms real,
    sha256 bytea,
    http_status smallint,
    retries smallint not null default 0,
    refused smallint not null default 0,
    error text,
    recorded_at timestamptz not null default clock_timestamp()
);
comment on table hl.fetch is 'provenance: every request; ids are drawn before the request is sent, so a higher id was asked for later';
comment on column hl.fetch.asked_at is 'market time at which the request was sent';
comment on column hl.fetch.refused is 'answers of 429 met on the way, healed by waiting or not';
comment on column hl.fetch.recorded_at is 'this server''s own clock';
create index fetch_recorded_at on hl.fetch (recorded_at);

-- Rows the exchange sent that broke a hard rule: received = stored + rejected.
create table hl.rejected_row (
    fetch_id bigint not null references hl.fetch on delete cascade,
    position integer not null,
    rule text not null,
    value text not null,
    payload text not null,
    primary key (fetch_id, position)
);

create table hl.series (
    series_id integer generated always as identity primary key,
    market_id integer not null references hl.market,
    interval text not null check (interval in ('1m', '5m', '15m', '1h', '4h', '1d')),
    step interval not null,
    tracked_from timestamptz not null,
    first_open timestamptz,
    ended_at timestamptz,
    known_until timestamptz not null,
    emits_quiet_rows boolean not null default false,
    last_asked_at timestamptz,
    reread_at timestamptz[] not null default '{}',
    unique (market_id, interval)
);
comment on column hl.series.tracked_from is 'open time of the oldest slot reachable when tracking began';
comment on column hl.series.first_open is 'open time of the first candle, once an answer proved that nothing is older';
comment on column hl.series.ended_at is 'end of the last slot expected, once delisting ended the series';
comment on column hl.series.known_until is 'the ledger speaks of slots before this instant; later ones were never asked for';
comment on column hl.series.reread_at is 'when a read last reached back as far as each re-read of the policy';
comment on column hl.series.emits_quiet_rows is 'the exchange has been seen to publish n = 0 rows for this series, so absence proves nothing';

create table hl.candle (
    series_id integer not null,
    open_time timestamptz not null,
    open numeric not null,
    high numeric not null,
    low numeric not null,
    close numeric not null,
    volume numeric not null,
    trades integer not null check (trades >= 0),
    fetch_id bigint not null,
    source "char" not null check (source in ('r', 's', 'a', 'd')),
    finality "char" not null check (finality in ('o', 'p', 'f')),
    primary key (series_id, open_time),
    -- numeric sorts NaN above Infinity, so "< Infinity" refuses both
    check (low > 0 and high < 'Infinity'),
    check (low <= least(open, close) and high >= greatest(open, close)),
    check (volume >= 0 and volume < 'Infinity'),
    check (trades > 0 or volume = 0)
) partition by range (open_time);
comment on column hl.candle.source is 'r rest, s stream, a archive, d derived';
comment on column hl.candle.finality is 'o open, p provisional, f final';

create table hl.candle_revision (
    series_id integer not null references hl.series,
    open_time timestamptz not null,
    replaced_by bigint not null references hl.fetch,
    replaced_at timestamptz not null,
    open numeric not null,
    high numeric not null,
    low numeric not null,
    close numeric not null,
    volume numeric not null,
    trades integer not null,
    fetch_id bigint not null,
    source "char" not null,
    finality "char" not null,
    primary key (series_id, open_time, replaced_by)
);
comment on table hl.candle_revision is 'the value a closed candle had before fetch replaced_by changed it';

-- The ledger: which slots of a series and month are settled, and how. What is expected and not here is a gap.
create table hl.coverage (
    series_id integer not null references hl.series,
    month date not null check (extract(day from month) = 1),
    final tstzmultirange not null default '{}',
    empty tstzmultirange not null default '{}',
    lost tstzmultirange not null default '{}',
    primary key (series_id, month),
    check (final * empty = '{}' and final * lost = '{}' and empty * lost = '{}')
);

-- Slots expected and not settled, as runs of slots with the same story.
create table hl.gap (
    series_id integer not null references hl.series,
    slots tstzrange not null check (not isempty(slots)),
    reason text not null check (reason in ('provisional', 'absent', 'unpublished', 'rejected', 'failed', 'unasked')),
    attempts integer not null default 0,
    first_absent_at timestamptz,
    next_try timestamptz not null,
    deadline timestamptz not null,
    primary key (series_id, slots)
);
comment on column hl.gap.deadline is 'when the exchange forgets the oldest of these slots';

create table hl.market_context (
    market_id integer not null references hl.market,
    seen_at timestamptz not null,
    mark_price numeric not null check (mark_price > 0 and mark_price < 'Infinity'),
    oracle_price numeric,
    mid_price numeric,
    previous_day_price numeric,
    funding numeric,
    premium numeric,
    open_interest numeric,
    day_notional_volume numeric not null,
    day_base_volume numeric,
    fetch_id bigint not null,
    primary key (market_id, seen_at)
) partition by range (seen_at);

-- What holders paid or received, as the exchange says it. Pages are read oldest first and each is stored whole, so the
-- newest stored time is also how far a market's history is read. Not partitioned: a market adds 8,760 rows a year.
create table hl.funding_rate (
    market_id integer not null references hl.market,
    time timestamptz not null,
    -- numeric sorts NaN above Infinity, so "< Infinity" refuses both
    rate numeric not null check (rate > '-Infinity' and rate < 'Infinity'),
    premium numeric check (premium > '-Infinity' and premium < 'Infinity'),
    fetch_id bigint not null,
    primary key (market_id, time)
);
comment on column hl.funding_rate.time is 'the exchange''s own instant, exact to the millisecond; it jitters, so it is never snapped to the hour';
comment on column hl.funding_rate.rate is 'a fraction of the position, for the hour (for eight hours until June 2023); positive: longs pay';

-- The weight budget: one key per address and exchange, one spend row per request of the last minute.
create table hl.rate_limit (
    key text primary key,
    max_weight integer not null check (max_weight > 0),
    window_length interval not null default interval '60 seconds',
    refused_since timestamptz,
    refused_total bigint not null default 0
);
comment on column hl.rate_limit.refused_since is 'first refusal since a request was last let through; null while none waits';
create table hl.rate_limit_spend (
    spend_id bigint generated always as identity primary key,
    key text not null references hl.rate_limit,
    at timestamptz not null,
    weight integer not null check (weight >= 0),
    lane text not null,
    settled boolean not null default false
);
create index rate_limit_spend_key_at on hl.rate_limit_spend (key, at);
-- The lanes that share a budget: the lower the rank the sooner served; the floor is in percent of max_weight.
create table hl.rate_limit_lane (
    lane text primary key,
    rank smallint not null unique,
    floor_percent smallint not null check (floor_percent between 0 and 50)
);
insert into hl.rate_limit_lane (lane, rank, floor_percent)
values ('urgent_gap', 1, 0), ('live', 2, 15), ('gap', 3, 10), ('backfill', 4, 5);
-- Who was refused and waits: one row a waiter, dead unless asked again within a tenth of the window.
create table hl.rate_limit_claim (
    key text not null references hl.rate_limit,
    waiter text not null,
    lane text not null references hl.rate_limit_lane,
    weight integer not null check (weight >= 0),
    waiting_since timestamptz not null,
    asked_at timestamptz not null,
    primary key (key, waiter)
);
comment on column hl.rate_limit_claim.waiting_since is 'infinity once it was let through: it then stands last in its lane';
comment on column hl.rate_limit_spend.at is 'reserved at; moved to the answer''s arrival when settled, since the exchange counts somewhere between';

create table hl.confidence (
    series_id integer not null references hl.series,
    scored_at timestamptz not null,
    score real not null check (score between 0 and 1),
    grade text not null check (grade in ('excellent', 'good', 'fair', 'poor')),
    weakest text not null,
    components jsonb not null,
    reasons jsonb not null,
    primary key (series_id, scored_at)
);

create table hl.system_health_log (
    logged_at timestamptz primary key,
    status text not null check (status in ('healthy', 'degraded', 'unhealthy')),
    score smallint not null check (score between 0 and 100),
    report jsonb not null
);

create table hl.alert (
    alert_id bigint generated always as identity primary key,
    fingerprint text not null,
    severity text not null check (severity in ('info', 'warning', 'error', 'critical')),
    rule text not null,
    labels jsonb not null default '{}',
    summary text not null,
    next_step text not null,
    first_seen timestamptz not null,
    last_seen timestamptz not null,
    times_seen integer not null default 1,
    resolved_at timestamptz
);
create unique index alert_open_fingerprint on hl.alert (fingerprint) where resolved_at is null;
