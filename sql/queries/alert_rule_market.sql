-- Gives one market a bound of its own.
insert into hl.alert_rule_market (rule, coin, threshold) values (%(name)s, %(coin)s, %(threshold)s)
on conflict (rule, coin) do update set threshold = excluded.threshold
