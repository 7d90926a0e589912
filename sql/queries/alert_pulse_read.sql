-- When were the rules last judged?
select hl.epoch_ms(beaten_at) from hl.alert_pulse
