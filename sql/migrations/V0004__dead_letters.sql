-- Windows that get no usable answer: counted while the exchange answers others, and laid aside for a person when that
-- goes on for too long. A dead slot stays a gap; it is only not asked for any more.

create table hl.failure_kind (
    kind text primary key,
    max_attempts integer not null check (max_attempts > 0),
    lasting interval not null check (lasting >= interval '0'),
    meaning text not null,
    next_step text not null
);
comment on table hl.failure_kind is
'how long each kind of failure is borne before a person must look at it; may be changed';
comment on column hl.failure_kind.max_attempts is 'a window dies of this failure, if the first is at least lasting ago';
insert into hl.failure_kind (kind, max_attempts, lasting, meaning, next_step)
values
    (
        'refused', 3, '0', 'the exchange refuses the form of the request',
        'compare coin, interval and span in the request with what is on offer; put that right, run `hl dlq retry`'
    ),
    (
        'bad_answer', 5, '10 minutes', 'the answer is not what was asked for, and cannot be read',
        'send the request by hand and look at the body; when the exchange answers it again, run `hl dlq retry`'
    ),
    (
        'unreachable', 20, '6 hours', 'this window alone gets no answer: a time-out, a broken connection, 5xx',
        'send the request by hand: a 500 may mean an unknown coin; when it is answered again, run `hl dlq retry`'
    ),
    (
        'rate_limited', 20, '6 hours', 'this window alone is answered with 429',
        'lower HL_WEIGHT_PER_MINUTE: something else uses this address; then run `hl dlq retry`'
    ),
    (
        'rejected', 5, '2 hours', 'the answer holds rows that break a rule, and none for these slots',
        'read the rows and their rules in hl.rejected_row; when the exchange has corrected them, run `hl dlq retry`'
    );

create table hl.fetch_failure (
    failure_id bigint generated always as identity primary key,
    series_id integer not null references hl.series,
    slots tstzmultirange not null check (not isempty(slots)),
    kind text not null references hl.failure_kind,
    attempts integer not null check (attempts > 0),
    first_failed_at timestamptz not null,
    last_failed_at timestamptz not null,
    error text not null,
    request jsonb not null,
    fetch_id bigint not null references hl.fetch
);
comment on table hl.fetch_failure is
'gap slots that get no usable answer; forgotten with the first one. Rows of one series and kind are disjoint';
comment on column hl.fetch_failure.attempts is
'failures that count: those before which the exchange answered somebody else, so that an outage counts once';
comment on column hl.fetch_failure.last_failed_at is 'market time';
comment on column hl.fetch_failure.fetch_id is 'the newest request that failed';
create index fetch_failure_series on hl.fetch_failure (series_id);

create table hl.dead_letter (
    dead_letter_id bigint generated always as identity primary key,
    series_id integer not null references hl.series,
    kind text not null references hl.failure_kind,
    slots tstzmultirange not null check (not isempty(slots)),
    waiting tstzmultirange not null,
    lost tstzmultirange not null default '{}',
    attempts integer not null check (attempts > 0),
    error text not null,
    request jsonb not null,
    next_step text not null,
    fetch_id bigint not null references hl.fetch,
    first_failed_at timestamptz not null,
    died_at timestamptz not null,
    retried_at timestamptz,
    resolved_at timestamptz,
    check (slots @> waiting and slots @> lost and waiting * lost = '{}'),
    check ((resolved_at is null) = not isempty(waiting))
);
comment on table hl.dead_letter is 'windows that failed for good: who must do what about them. Times are market time';
comment on column hl.dead_letter.waiting is 'those of its slots that have no usable answer yet: dead gaps, all of them';
comment on column hl.dead_letter.lost is 'those that the exchange forgot meanwhile';
comment on column hl.dead_letter.died_at is 'when its newest slots died, or a retry failed';
comment on column hl.dead_letter.retried_at is 'when somebody last asked for it again';
comment on column hl.dead_letter.resolved_at is 'when the last of its slots was answered or lost';
create index dead_letter_open on hl.dead_letter (series_id) where resolved_at is null;

alter table hl.gap add column is_dead boolean not null default false;
comment on column hl.gap.is_dead is
'in a dead letter: asked for alone, and only when a person retries it or an hour before the exchange forgets it';
