"""What the list of runs says of a run: lane, markets, reason."""

from __future__ import annotations

import dagster as dg
import pytest

from hl_pipeline.defs.listing import ASSETS, build
from hl_pipeline.defs.tags import LANE, MARKETS, REASON, named, run_tags, tell
from hl_pipeline.runtime import Pipeline
from hl_pipeline_tests.defs.test_live_candles import collect


def told(
    pipeline: Pipeline,
    instance: dg.DagsterInstance,
    *assets: str,
    job: str = "health",
    tags: dict[str, str] | None = None,
) -> dict[str, str]:
    definition = build(pipeline=pipeline).resolve_job_def(job)
    run = instance.create_run_for_job(
        definition, tags=tags or {}, asset_selection=frozenset(dg.AssetKey(name) for name in assets) or None
    )
    tell(instance, run, pipeline)
    kept = instance.get_run_by_id(run.run_id)
    assert kept is not None
    return {name: value for name, value in kept.tags.items() if name.startswith("hl/")}


def test_a_run_launched_by_hand_says_so_and_for_whom(pipeline: Pipeline, instance: dg.DagsterInstance) -> None:
    collect(pipeline, instance)
    assert told(pipeline, instance) == {MARKETS: "BTC, ETH", REASON: "launched by hand"}


@pytest.mark.parametrize(
    ("tag", "value", "reason"),
    [
        ("dagster/schedule_name", "health_each_minute", "schedule health_each_minute"),
        ("dagster/sensor_name", "drain_open_gaps", "sensor drain_open_gaps"),
        ("dagster/backfill", "abcdefgh", "back-fill abcdefgh"),
    ],
)
def test_dagsters_own_launchers_are_named(
    pipeline: Pipeline, instance: dg.DagsterInstance, tag: str, value: str, reason: str
) -> None:
    assert told(pipeline, instance, tags={tag: value})[REASON] == reason


def test_what_somebody_said_stays(pipeline: Pipeline, instance: dg.DagsterInstance) -> None:
    given = {LANE: "gap", **run_tags(["SOL"], "because")}
    assert told(pipeline, instance, tags=given) == given


@pytest.mark.parametrize(
    ("tags", "markets"),
    [
        ({"dagster/partition": "ETH|2026-01-01"}, "ETH"),
        (
            {
                "dagster/asset_partition_range_start": "BTC|2025-11-01",
                "dagster/asset_partition_range_end": "BTC|2026-01-01",
            },
            "BTC",
        ),
        (
            {
                "dagster/asset_partition_range_start": "ARB|2026-01-01",
                "dagster/asset_partition_range_end": "SOL|2026-01-01",
            },
            "ARB to SOL",
        ),
    ],
)
def test_a_back_fill_names_the_markets_of_its_partitions(
    pipeline: Pipeline, instance: dg.DagsterInstance, tags: dict[str, str], markets: str
) -> None:
    assert told(pipeline, instance, tags=tags)[MARKETS] == markets


def test_nothing_tracked_is_said(pipeline: Pipeline, instance: dg.DagsterInstance) -> None:
    assert told(pipeline, instance)[MARKETS] == "none tracked yet"


def test_many_markets_are_counted() -> None:
    assert named(["B", "A"]) == "A, B"
    assert named([f"C{number}" for number in range(230)]) == "230 markets"


@pytest.mark.parametrize(
    "spec",
    [spec for asset in ASSETS for spec in asset.specs if LANE in spec.tags],
    ids=lambda spec: spec.key.to_user_string(),
)
def test_who_materializes_an_asset_by_hand_is_told_its_lane(
    pipeline: Pipeline, instance: dg.DagsterInstance, spec: dg.AssetSpec
) -> None:
    assert told(pipeline, instance, spec.key.to_user_string(), job="__ASSET_JOB")[LANE] == spec.tags[LANE]
