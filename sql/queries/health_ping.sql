-- Is anybody there?
select count(*) from hl.market where tracked
