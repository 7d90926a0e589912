-- What every change of an alert leaves in the outbox, how grave a severity is, and why an alert is not told.

create or replace function hl.alert_to_outbox()
returns trigger
language plpgsql
set search_path = pg_catalog, hl, pg_temp
as $$
begin
    if tg_op = 'INSERT' then
        insert into hl.alert_outbox (alert_id, kind, written_at) values (new.alert_id, 'firing', new.first_seen);
    elsif old.resolved_at is null and new.resolved_at is not null then
        insert into hl.alert_outbox (alert_id, kind, written_at) values (new.alert_id, 'resolved', new.resolved_at);
    end if;
    return null;
end
$$;

create or replace trigger alert_to_outbox
after insert or update of resolved_at on hl.alert
for each row execute function hl.alert_to_outbox();

-- 1 info to 4 critical.
create or replace function hl.severity_rank(p_severity text)
returns integer
language sql
immutable
as $$
    select array_position(array['info', 'warning', 'error', 'critical'], p_severity)
$$;

-- Why an alert is not told at an instant; null when it is. A cause that just ended still mutes: its symptoms need a
-- moment to end too, a failed run the next one, and what is counted over 15 minutes as long as that.
create or replace function hl.why_muted(p_rule text, p_labels jsonb, p_at timestamptz)
returns text
language sql
stable
set search_path = pg_catalog, hl, pg_temp
as $$
    select coalesce(
        (
            select 'silenced until ' || to_char(max(until) at time zone 'UTC', 'YYYY-MM-DD HH24:MI')
            from hl.alert_silence
            where coalesce(rule = p_rule, true) and p_labels @> labels and since <= p_at and until > p_at
            having count(*) > 0
        ),
        (select 'its rule is off' from hl.alert_rule where name = p_rule and not enabled),
        (
            select 'because of ' || min(cause.rule)
            from hl.alert_rule as rule
            join hl.alert as cause on cause.rule = any(rule.inhibited_by)
            where
                rule.name = p_rule
                and (
                    cause.resolved_at is null
                    or cause.resolved_at > p_at - case
                        when rule.name in ('error_rate', 'api_latency') then interval '16 minutes'
                        else greatest(rule.wait, interval '2 minutes')
                    end
                )
            having count(*) > 0
        ),
        (
            select 'told by rule ' || min(name)
            from hl.alert_rule
            where p_rule = 'check_failed' and enabled and p_labels ->> 'check' = any(covers)
            having count(*) > 0
        )
    )
$$;
