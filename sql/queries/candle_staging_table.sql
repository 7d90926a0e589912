-- Where an answer's rows stand before they are compared with what is stored; private to the session.
create temp table if not exists staging_candle (
    open_ms bigint not null,
    open numeric not null,
    high numeric not null,
    low numeric not null,
    close numeric not null,
    volume numeric not null,
    trades integer not null
)
