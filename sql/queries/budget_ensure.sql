-- Sets up a key's weight budget for a window of a minute, or gives it a new size if that is wanted.
insert into hl.rate_limit (key, max_weight) values (%(key)s, %(max_weight)s)
on conflict (key) do update set max_weight = excluded.max_weight
where %(resize)s and rate_limit.max_weight is distinct from excluded.max_weight;
