-- How many markets are collected because they are named, how many by the universe, and which of them are absent?
select
    count(*) filter (where tracked and tracked_by is distinct from 'universe') as named,
    count(*) filter (where tracked and tracked_by = 'universe') as by_universe,
    coalesce(array_agg(coin order by coin) filter (where tracked and absent_since is not null), '{}') as absent
from hl.market
