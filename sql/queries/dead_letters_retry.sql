-- Has dead slots asked for again, once: of how many letters?
select hl.retry_dead_letters(%(kind)s::text, %(number)s::bigint, %(now)s)
