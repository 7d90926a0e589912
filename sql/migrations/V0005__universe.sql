-- Which markets are collected and why, where the exchange lists them, and since when it names them no more.

alter table hl.market
    add column tracked_by text check (tracked_by in ('list', 'universe')),
    add column universe_index integer,
    add column volume_rank integer,
    add column outside_since timestamptz,
    add column absent_since timestamptz;
comment on column hl.market.tracked_by is 'list: named in the settings; universe: by its rank, or because all are collected; null: not collected';
comment on column hl.market.universe_index is 'place in the exchange''s universe of its dex (spot: the pair''s own index), as last seen';
comment on column hl.market.volume_rank is 'rank by notional volume of 24 h among listed perpetual markets at the last look; 1 is the largest';
comment on column hl.market.outside_since is 'first look since which a market of the universe has been beyond the rank that stays';
comment on column hl.market.absent_since is 'first look at which the exchange did not name the market any more; null when it does';

update hl.market set tracked_by = 'list' where tracked;
