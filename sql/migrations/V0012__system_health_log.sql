-- The health log keeps reports that could not tell, gaps are followed from when they are found to what became of them,
-- and revisions are found by their time. Times are market time.

alter table hl.system_health_log drop constraint system_health_log_status_check;
alter table hl.system_health_log add constraint system_health_log_status_check
check (status in ('healthy', 'degraded', 'unhealthy', 'unknown'));
comment on column hl.system_health_log.status is 'unknown: something could not be measured, and nothing known is unhealthy';

create table hl.gap_episode (
    episode_id bigint generated always as identity primary key,
    series_id integer not null references hl.series,
    slots tstzrange not null check (not isempty(slots)),
    waiting tstzmultirange not null,
    reason text not null,
    missing_since timestamptz not null,
    found_at timestamptz not null,
    closed_at timestamptz,
    outcome text check (outcome in ('filled', 'empty', 'lost', 'dropped')),
    check ((closed_at is null) = (outcome is null)),
    check ((closed_at is null) = (waiting <> '{}'))
);
comment on table hl.gap_episode is
'runs of slots that were missing longer than it takes to ask for them, each from found to closed; written once a minute, so what is missing for less is in none. History from before a market was tracked is in none either';
comment on column hl.gap_episode.slots is 'as found';
comment on column hl.gap_episode.waiting is 'those of its slots that are not settled yet';
comment on column hl.gap_episode.reason is 'why it was open when it was found, as in hl.gap';
comment on column hl.gap_episode.missing_since is 'when its first slot was due';
comment on column hl.gap_episode.outcome is
'lost: the exchange forgot some of its slots; empty: all are proven to have no candle; filled: the rest; dropped: nobody collects the market any more';
create index gap_episode_open on hl.gap_episode (series_id) where closed_at is null;
create index gap_episode_found on hl.gap_episode (found_at);
create index gap_episode_closed on hl.gap_episode (closed_at);

create index candle_revision_replaced_at on hl.candle_revision (replaced_at);
