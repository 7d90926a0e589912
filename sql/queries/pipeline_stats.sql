-- What came of the last 24 hours? See R__pipeline_stats_24h.sql for what each figure counts.
select
    hl.epoch_ms(since), hl.epoch_ms(until), points, api_calls, weight, errors, answers_429, rejected_rows, revisions,
    gaps_found, gaps_healed, gaps_lost, gaps_open, seconds_to_detect, seconds_to_repair, alerts_raised, alerts_resolved,
    reports, mean_score, watched_share, uptime_share
from hl.pipeline_stats_24h
