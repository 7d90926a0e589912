-- Forgets a series' gaps, to be written anew in the same transaction.
delete from hl.gap where series_id = %(series_id)s
