-- A gap may stand open because the exchange is down; and rows that the exchange showed once and shows no more.

alter table hl.gap drop constraint gap_reason_check;
alter table hl.gap add constraint gap_reason_check check (
    reason in ('provisional', 'absent', 'unpublished', 'rejected', 'failed', 'exchange_down', 'unasked')
);

create table hl.vanished_row (
    series_id integer not null references hl.series,
    open_time timestamptz not null,
    first_absent_at timestamptz not null,
    first_absent_fetch bigint not null references hl.fetch,
    last_absent_at timestamptz not null,
    last_absent_fetch bigint not null references hl.fetch,
    times_absent integer not null default 1 check (times_absent > 0),
    seen_again_at timestamptz,
    accepted_at timestamptz,
    primary key (series_id, open_time)
);
comment on table hl.vanished_row is
'final candles that a later answer did not hold though it holds rows on both sides of them; the candle is kept';
comment on column hl.vanished_row.first_absent_at is 'market time at which the first such answer was asked for';
comment on column hl.vanished_row.seen_again_at is 'market time of the answer that held the row again; null while it is gone';
comment on column hl.vanished_row.accepted_at is
'set by a person who knows why the row is gone and wants to hear no more of it; a new absence asks again';
create index vanished_row_open on hl.vanished_row (series_id) where seen_again_at is null and accepted_at is null;
