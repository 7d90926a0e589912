"""What the tags of a run say in the list of runs: in which lane it spends, for which markets, and why it started.

Schedules, sensors and commands say it when they launch. A run that somebody launches in the web interface comes
without; it is told when it opens the pipeline.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from dagster import DagsterInstance, DagsterRun

from hl_pipeline.runtime import Pipeline
from hl_pipeline.storage.markets import tracked

#: ``dagster.yaml`` lets one run a lane go at once.
LANE = "hl/lane"
MARKETS = "hl/markets"
REASON = "hl/reason"
#: So many names fit where the interface shows a tag.
SHOWN_NAMES = 6
_LANES = {
    "markets": "live",
    "market_contexts": "live",
    "funding_rates": "funding",
    "live_candles": "live",
    "gap_queue": "gap",
    "confidence_scores": "live",
    "latest_metrics": "live",
}
_BACKFILL = "dagster/backfill"
_FIRST, _LAST = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
_ONE = "dagster/partition"
#: Dagster's own words on who launched a run, and ours for them.
_LAUNCHERS = {
    _BACKFILL: "back-fill",
    "dagster/schedule_name": "schedule",
    "dagster/sensor_name": "sensor",
}


def run_tags(coins: Collection[str], reason: str) -> dict[str, str]:
    """The tags of a run over these markets; its job knows the lane."""
    return {MARKETS: named(coins), REASON: reason}


def named(coins: Collection[str]) -> str:
    """A few markets by name, many by number."""
    if not coins:
        return "none tracked yet"
    return ", ".join(sorted(coins)) if len(coins) <= SHOWN_NAMES else f"{len(coins)} markets"


def tell(instance: DagsterInstance, run: DagsterRun, pipeline: Pipeline) -> None:
    """Give the run the tags that nobody gave it."""
    missing = {
        name: value
        for name, value in {LANE: _lane(run), REASON: _reason(run.tags)}.items()
        if name not in run.tags and value is not None
    }
    if MARKETS not in run.tags:
        missing[MARKETS] = _markets(run.tags, pipeline)
    if missing:
        instance.add_run_tags(run.run_id, missing)


def _lane(run: DagsterRun) -> str | None:
    """Whose weight the chosen assets spend; the history's is always the back-fill's."""
    chosen = {key.to_user_string() for key in run.asset_selection or ()}
    lanes = {_LANES.get(name) or ("backfill" if _is_history(name) else None) for name in chosen} - {None}
    return next((lane for lane in ("backfill", "gap", "funding", "live") if lane in lanes), None)


def _is_history(name: str) -> bool:
    return name.startswith("candles_") or name.endswith("_history")


def _reason(tags: Mapping[str, str]) -> str:
    return next((f"{ours} {tags[theirs]}" for theirs, ours in _LAUNCHERS.items() if theirs in tags), "launched by hand")


def _markets(tags: Mapping[str, str], pipeline: Pipeline) -> str:
    """Those of the run's partitions; without partitions, those that are tracked."""
    keys = [tags[name] for name in (_FIRST, _LAST, _ONE) if name in tags]
    if keys:
        coins = sorted({key.split("|")[0] for key in keys})
        return coins[0] if len(coins) == 1 else f"{coins[0]} to {coins[-1]}"
    with pipeline.database.connection() as connection:
        return named(tracked(connection))
