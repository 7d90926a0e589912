-- Alerts reach people: rules with their bounds, incidents that group alerts, an outbox written with each change of an
-- alert, notices made from it, and one delivery a notice and channel. Times are market time.

create table hl.alert_rule (
    name text primary key,
    enabled boolean not null default true,
    severity text check (severity in ('info', 'warning', 'error', 'critical')),
    threshold double precision,
    wait interval not null default interval '30 seconds' check (wait >= interval '0'),
    repeat_every interval not null default interval '4 hours' check (repeat_every > interval '0'),
    group_by text[] not null default '{}',
    inhibited_by text[] not null default '{}',
    covers text[] not null default '{}',
    meaning text not null
);
comment on table hl.alert_rule is 'what is told, from which bound on and how often; may be changed (`hl alerts rule`)';
comment on column hl.alert_rule.severity is 'null: as grave as whoever raises it says';
comment on column hl.alert_rule.threshold is 'the bound, in the unit that meaning names; null: the rule has none';
comment on column hl.alert_rule.wait is
'an alert that is over sooner is not told, and an incident ends when nothing came back for so long; 0: told in any case';
comment on column hl.alert_rule.group_by is
'alerts of a rule that agree in these labels are one incident; none: all alerts of the rule are';
comment on column hl.alert_rule.inhibited_by is 'while an alert of these rules is open, this one is not told';
comment on column hl.alert_rule.covers is 'asset checks that say the same: their failure is not told a second time';

create table hl.alert_rule_market (
    rule text not null references hl.alert_rule on delete cascade,
    coin text not null,
    threshold double precision not null,
    primary key (rule, coin)
);
comment on table hl.alert_rule_market is 'a bound of its own for one market';

insert into hl.alert_rule (name, severity, threshold, group_by, inhibited_by, covers, meaning)
values
    ('database_down', 'critical', 2000, '{}', '{}', '{database_answers}', 'a round trip to Postgres takes longer than so many ms'),
    ('database_slow', 'warning', 250, '{}', '{database_down}', '{}', 'a round trip to Postgres takes longer than so many ms'),
    ('exchange_down', 'critical', 0.5, '{}', '{database_down}', '{}', 'more than this share of the requests of 15 minutes failed, or no endpoint is well'),
    ('error_rate', 'warning', 0.05, '{}', '{exchange_down,database_down}', '{api_answers}', 'more than this share of the requests of 15 minutes failed'),
    ('api_latency', 'error', 1000, '{}', '{exchange_down}', '{}', 'half of the answers of 15 minutes took longer than so many ms'),
    ('throughput', 'critical', 1, '{}', '{}', '{}', 'fewer requests than this were made in 15 minutes: nobody collects'),
    ('stale', 'warning', 1, '{}', '{exchange_down,database_down,throughput}', '{fresh_1m,fresh_5m,fresh_15m,fresh_1h,fresh_4h,fresh_1d}', 'the newest closed candle of a market is older than so many times what is fresh'),
    ('coverage', 'warning', 0.999, '{}', '{exchange_down,database_down,throughput}', '{coverage_complete}', 'less than this share of the due slots of an interval is settled or still waits its turn'),
    ('confidence', 'critical', 0.3, '{}', '{exchange_down,database_down,throughput}', '{}', 'a series'' confidence is below this'),
    ('gap_deadline', 'error', 12, '{}', '{}', '{gaps_before_deadline}', 'the exchange forgets a gap within so many hours (12 at most)'),
    ('budget_exhausted', 'warning', 120, '{}', '{}', '{budget_has_room}', 'the weight budget let nothing through for so many seconds'),
    ('rate_limited', 'warning', 0, '{}', '{}', '{}', 'more answers of 429 than this in five minutes'),
    ('stream_down', 'warning', null, '{}', '{exchange_down,database_down}', '{stream_alive}', 'the live stream is to run and does not'),
    ('endpoint_unwell', 'warning', null, '{endpoint}', '{exchange_down}', '{endpoints_healthy}', 'an endpoint rests, is late, or says other things'),
    ('rows_vanished', 'warning', 0, '{}', '{}', '{no_vanished_rows}', 'more stored candles than this are missing from later answers'),
    ('contract_broken', 'error', 0, '{}', '{}', '{rows_keep_contract}', 'more candles than this of the last two days break the contract'),
    ('price_move', 'info', 0.25, '{}', '{}', '{}', 'a market''s mark price moved by more than this share within an hour'),
    ('funding_extreme', 'info', 0.002, '{}', '{}', '{}', 'a market''s funding rate is beyond this an hour, either way'),
    ('dead_letter', null, null, '{kind}', '{}', '{no_dead_letters}', 'a window of a series failed for good'),
    ('slots_lost', null, null, '{}', '{}', '{}', 'slots went past their deadline'),
    ('endpoints_disagree', null, null, '{endpoint}', '{}', '{}', 'two endpoints say different things of closed candles'),
    ('run_failed', null, null, '{job}', '{exchange_down,database_down}', '{}', 'a run failed'),
    ('check_failed', null, null, '{asset,check}', '{database_down}', '{}', 'an asset check did not pass, and no rule covers it'),
    ('markets_absent', null, null, '{}', '{}', '{}', 'collected markets are missing from the exchange''s list'),
    ('market_listed', null, null, '{}', '{}', '{}', 'a market is new, and is collected'),
    ('market_delisted', null, null, '{}', '{}', '{}', 'a collected market is delisted');
update hl.alert_rule set wait = interval '0' where name in ('slots_lost', 'market_listed', 'market_delisted');
-- a start after a long stop is no trouble yet
update hl.alert_rule set wait = interval '5 minutes' where name = 'throughput';
update hl.alert_rule set wait = interval '2 minutes' where name in ('stale', 'coverage', 'stream_down', 'confidence');
update hl.alert_rule set repeat_every = interval '1 hour' where severity = 'critical' or name = 'gap_deadline';
update hl.alert_rule set repeat_every = interval '24 hours' where name in ('price_move', 'funding_extreme', 'slots_lost');
update hl.alert_rule set repeat_every = interval '7 days' where name in ('market_listed', 'market_delisted');

-- What a person is told of, once: the alerts of a rule that agree in the labels it groups by.
create table hl.alert_incident (
    incident_id bigint generated always as identity primary key,
    rule text not null,
    group_key jsonb not null,
    opened_at timestamptz not null,
    told_at timestamptz,
    told_severity text check (told_severity in ('info', 'warning', 'error', 'critical')),
    resolved_at timestamptz
);
comment on column hl.alert_incident.told_at is 'when its newest notice was made; told_severity is the gravest that was told';
create unique index alert_incident_open on hl.alert_incident (rule, group_key) where resolved_at is null;

alter table hl.alert add column incident_id bigint references hl.alert_incident on delete set null;
alter table hl.alert add column acknowledged_at timestamptz;
alter table hl.alert add column acknowledged_by text;
comment on column hl.alert.acknowledged_at is 'somebody looks after it: it is not told again until it is over';
create index alert_rule_resolved on hl.alert (rule, resolved_at);
create index alert_incident_of on hl.alert (incident_id);

create table hl.alert_silence (
    silence_id bigint generated always as identity primary key,
    rule text,
    labels jsonb not null default '{}',
    since timestamptz not null,
    until timestamptz not null,
    made_by text not null,
    reason text not null,
    check (until >= since),
    check (rule is not null or labels <> '{}')
);
comment on table hl.alert_silence is 'alerts of the rule (null: any) that carry all these labels are not told before until';

-- Written by a trigger with each alert that opens or ends, so neither is there without the other.
create table hl.alert_outbox (
    outbox_id bigint generated always as identity primary key,
    alert_id bigint not null references hl.alert on delete cascade,
    kind text not null check (kind in ('firing', 'resolved')),
    written_at timestamptz not null,
    taken_at timestamptz
);
comment on column hl.alert_outbox.taken_at is 'when it went into an incident, or was over before it had to be told';
create index alert_outbox_waiting on hl.alert_outbox (alert_id) where taken_at is null;
create index alert_outbox_alert on hl.alert_outbox (alert_id);
insert into hl.alert_outbox (alert_id, kind, written_at)
select alert_id, 'firing', first_seen from hl.alert where resolved_at is null;

create table hl.alert_notice (
    notice_id bigint generated always as identity primary key,
    incident_id bigint not null references hl.alert_incident on delete cascade,
    kind text not null check (kind in ('firing', 'worse', 'repeat', 'resolved')),
    severity text not null check (severity in ('info', 'warning', 'error', 'critical')),
    title text not null,
    body text not null,
    made_at timestamptz not null
);
create index alert_notice_incident on hl.alert_notice (incident_id);

create table hl.alert_delivery (
    notice_id bigint not null references hl.alert_notice on delete cascade,
    channel text not null,
    due_at timestamptz not null,
    attempts integer not null default 0,
    claimed_until timestamptz,
    sent_at timestamptz,
    last_error text,
    primary key (notice_id, channel)
);
comment on column hl.alert_delivery.channel is 'its name: the kind of sink and a few digits of a hash; its address is nowhere here';
comment on column hl.alert_delivery.claimed_until is 'a process sends it now; past: that process died, and another may';
create index alert_delivery_unsent on hl.alert_delivery (channel, due_at) where sent_at is null;

-- When the rules were last judged and the outbox emptied; old: nobody would be told of anything.
create table hl.alert_pulse (
    only_row boolean primary key default true check (only_row),
    beaten_at timestamptz not null
);
