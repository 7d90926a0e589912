-- Brings the latest metrics up to date while readers read on.
refresh materialized view concurrently hl.latest_metrics
