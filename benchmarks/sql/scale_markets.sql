-- Markets, one in ten of them thin.
insert into hl.market (coin, kind, sz_decimals, max_leverage, tracked, tracked_by, first_seen, last_seen)
select 'M' || to_char(number, 'FM0000'), 'perp', 4, 20, true, 'list', %(starts)s, %(starts)s
from generate_series(1, %(markets)s) as number
order by number
