"""How old each asset may grow before Dagster calls it late.

Only assets that something brings up to date on schedule have a policy: not the
partitioned histories, which a back-fill of an old month would make look fresh;
not `gap_queue` and `backfill_forecast`, which run when there is reason to. A
policy asks when an asset was last made; whether the *data* in it are young is
judged from the tables, by `fresh_1m` to `fresh_1d`, `funding_is_fresh` and the
contracts, and far sooner.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import dagster as dg

#: With every market of the exchange a collection comes every six minutes, whatever HL_PERIOD_SECONDS says.
SLOWEST_PERIOD_S = 360
_COLLECTED = ("market_contexts", "live_candles", "confidence_scores", "latest_metrics")
_HOURLY = ("markets", "funding_rates", "data_contracts", "service_levels")
_EACH_MINUTE = ("endpoint_health", "system_health", "pipeline_report")
_NIGHTLY = ("retention",)
#: Made when there is reason to, or by hand.
WITHOUT_POLICY = frozenset({"gap_queue", "backfill_forecast"})


def freshness_policies(period_seconds: int) -> Mapping[str, dg.FreshnessPolicy]:
    """The policy of each asset that has one; ``period_seconds`` is the least time between two collections."""
    period = max(period_seconds, SLOWEST_PERIOD_S)
    # the third collection in a row missed, the seventh; and the time that one may take
    collected = _late(timedelta(seconds=3 * period + 120), timedelta(seconds=7 * period + 180))
    hourly = _late(timedelta(hours=2), timedelta(hours=4))
    each_minute = _late(timedelta(minutes=5), timedelta(minutes=15))
    # one night missed, and two; its check would not notice, it runs with it
    nightly = _late(timedelta(hours=36), timedelta(hours=60))
    return {
        **dict.fromkeys(_COLLECTED, collected),
        **dict.fromkeys(_HOURLY, hourly),
        **dict.fromkeys(_EACH_MINUTE, each_minute),
        **dict.fromkeys(_NIGHTLY, nightly),
    }


def with_freshness(asset: dg.AssetsDefinition, policies: Mapping[str, dg.FreshnessPolicy]) -> dg.AssetsDefinition:
    """The asset with its policy, if it has one."""
    policy = policies.get(asset.key.to_user_string())
    if policy is None:
        return asset
    return asset.map_asset_specs(lambda spec: spec.replace_attributes(freshness_policy=policy))


def _late(warn: timedelta, fail: timedelta) -> dg.FreshnessPolicy:
    return dg.FreshnessPolicy.time_window(warn_window=warn, fail_window=fail)
