-- Marks exactly these markets as the ones to collect.
update hl.market
set tracked = coin = any(%(coins)s::text[])
where tracked <> (coin = any(%(coins)s::text[]))
