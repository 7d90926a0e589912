-- Keeps a report; a second one for the same instant replaces the first.
insert into hl.system_health_log (logged_at, status, score, report)
values (%(now)s, %(status)s, %(score)s, %(report)s)
on conflict (logged_at) do update set status = excluded.status, score = excluded.score, report = excluded.report
