-- Drops silences that ended before an instant; at most %(batch)s.
delete from hl.alert_silence
where silence_id in (select silence_id from hl.alert_silence where until < %(before)s limit %(batch)s)
