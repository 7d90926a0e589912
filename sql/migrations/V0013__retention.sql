-- What is not kept for ever: which candles and quotes went into a file before they were dropped, and how far the
-- fetches have been looked through.

create table hl.export_file (
    export_id bigint generated always as identity primary key,
    relation text not null check (relation in ('candle', 'market_context')),
    interval text check (interval in ('1m', '5m', '15m', '1h', '4h', '1d')),
    month date not null check (extract(day from month) = 1),
    file text not null unique,
    rows bigint not null check (rows > 0),
    bytes bigint not null check (bytes > 0),
    sha256 bytea not null,
    content numeric not null,
    exported_at timestamptz not null,
    dropped_at timestamptz not null,
    restored_at timestamptz,
    check ((relation = 'candle') = (interval is not null))
);
comment on table hl.export_file is
'Parquet files whose rows were dropped here, each once it had been read back and found equal; times are market time';
comment on column hl.export_file.file is 'below the folder of exports';
comment on column hl.export_file.content is 'sum of hl.row_digest over the rows: equal content, equal number, in any order';
comment on column hl.export_file.restored_at is 'when its rows were loaded again; null while they are dropped';
create index export_file_month on hl.export_file (month, relation);

-- Beside the ledger, not in it: a candle stays final in hl.coverage when its row is in a file.
create table hl.exported_slots (
    series_id integer not null references hl.series,
    month date not null check (extract(day from month) = 1),
    slots tstzmultirange not null check (not isempty(slots)),
    primary key (series_id, month)
);
comment on table hl.exported_slots is 'slots whose final candle was exported to a file and dropped from hl.candle';

create table hl.retention_progress (
    kind text primary key check (kind in ('fetch')),
    judged_until bigint not null
);
comment on column hl.retention_progress.judged_until is
'fetches up to this id have been judged: what is left of them is referred to. Set back when a month is dropped';

-- Whoever drops a fetch must find what refers to it; without these each dropped row would read these tables whole.
create index candle_revision_replaced_by on hl.candle_revision (replaced_by);
create index candle_revision_fetch on hl.candle_revision (fetch_id);
create index fetch_failure_fetch on hl.fetch_failure (fetch_id);
create index dead_letter_fetch on hl.dead_letter (fetch_id);
create index vanished_row_first on hl.vanished_row (first_absent_fetch);
create index vanished_row_last on hl.vanished_row (last_absent_fetch);
