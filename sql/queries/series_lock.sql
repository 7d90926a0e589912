-- Holds the series until the transaction ends: one landing at a time.
select series_id from hl.series where series_id = %(series_id)s for update
