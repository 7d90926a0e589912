-- Alerts of the rule (null: any) with these labels are not told until an instant.
insert into hl.alert_silence (rule, labels, since, until, made_by, reason)
values (%(rule)s, %(labels)s, %(now)s, %(until)s, %(by)s, %(reason)s)
returning silence_id
