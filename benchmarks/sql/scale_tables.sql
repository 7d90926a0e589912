-- What the made-up history is made from: thirty days of minutes and what they add up to, which market takes which of
-- them, and where slots are missing.
create schema scale;

create table scale.template (
    template integer not null,
    minutes integer not null,
    day integer not null,
    at_minute integer not null,
    open numeric not null,
    high numeric not null,
    low numeric not null,
    close numeric not null,
    volume numeric not null,
    trades integer not null,
    primary key (template, minutes, day, at_minute)
);

create table scale.quiet_minute (template integer not null, day integer not null, at_minute integer not null);

create table scale.series (
    series_id integer primary key,
    market_id integer not null,
    minutes integer not null,
    step interval not null,
    template integer not null,
    shift integer not null,
    price_factor numeric not null
);

create table scale.hole (market_id integer not null, slots tstzrange not null, is_lost boolean not null);
