-- Drops what endpoints said differently before an instant; at most %(batch)s.
delete from hl.endpoint_disagreement
where disagreement_id in (
    select disagreement_id from hl.endpoint_disagreement where seen_at < %(before)s limit %(batch)s
)
