-- Which rules are there, with their bounds?
select
    name, enabled, severity, threshold, extract(epoch from wait)::float8 * 1000, extract(epoch from repeat_every)::float8 * 1000,
    group_by, inhibited_by, meaning,
    coalesce((select jsonb_object_agg(coin, market.threshold) from hl.alert_rule_market as market where market.rule = alert_rule.name), '{}')
from hl.alert_rule
order by name
