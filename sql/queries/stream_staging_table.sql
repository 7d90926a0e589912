-- Where the stream's candles stand before they are landed; private to the session.
create temp table if not exists staging_stream (
    series_id integer not null,
    open_ms bigint not null,
    open numeric not null,
    high numeric not null,
    low numeric not null,
    close numeric not null,
    volume numeric not null,
    trades integer not null,
    is_closed boolean not null
)
