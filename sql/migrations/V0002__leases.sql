-- Who may write a series' month: the newest claimant. A process that was taken for dead and lives on holds an older
-- epoch, so that its writes are refused.

create table hl.lease (
    series_id integer not null references hl.series,
    month date not null check (extract(day from month) = 1),
    lane text not null check (lane in ('live', 'gap', 'backfill')),
    epoch bigint not null default 1,
    holder text not null,
    claimed_at timestamptz not null default clock_timestamp(),
    primary key (series_id, month, lane)
);
comment on table hl.lease is 'fencing: a landing is refused when a later claim on one of its months exists';
comment on column hl.lease.lane is 'lanes work the same month side by side; each fences only its own kind';
comment on column hl.lease.holder is 'the run or process that claimed last';
comment on column hl.lease.claimed_at is 'this server''s own clock';
