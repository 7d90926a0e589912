-- A random walk of thirty days for liquid markets (0: a quiet minute every third day) and for thin ones (1: one minute
-- in fifty is quiet and has no candle).
with noise as (
    select
        template,
        minute,
        random_normal() * 0.0004 as move,
        random() as above,
        random() as below,
        round((random() * 40)::numeric, 5) as volume,
        1 + (random() * 300)::integer as trades,
        case template when 0 then minute % 4321 = 77 else random() < 0.02 end as is_quiet
    from generate_series(0, 1) as template
    cross join generate_series(0, 30 * 1440 - 1) as minute
),

walk as (
    select *, round((60000 * exp(sum(move) over (partition by template order by minute)))::numeric, 1) as close
    from noise
),

candle as (
    select *, lag(close, 1, close) over (partition by template order by minute) as open
    from walk
),

quiet as (
    insert into scale.quiet_minute (template, day, at_minute)
    select template, minute / 1440, minute % 1440
    from candle
    where is_quiet
)

insert into scale.template (template, minutes, day, at_minute, open, high, low, close, volume, trades)
select
    template,
    1,
    minute / 1440,
    minute % 1440,
    open,
    greatest(open, close) + round((above * 15)::numeric, 1),
    least(open, close) - round((below * 15)::numeric, 1),
    close,
    volume,
    trades
from candle
where not is_quiet
