-- The rules were judged and the outbox emptied at this instant.
insert into hl.alert_pulse (beaten_at) values (%(now)s)
on conflict (only_row) do update set beaten_at = greatest(alert_pulse.beaten_at, excluded.beaten_at)
