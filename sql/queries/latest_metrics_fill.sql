-- Fills the latest metrics for the first time; readers wait meanwhile.
refresh materialized view hl.latest_metrics
