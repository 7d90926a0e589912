"""What a stranger meets in the web interface: an order, words on everything, and a launchpad that may be pressed."""

from __future__ import annotations

import dagster as dg
import pytest

from hl_pipeline.definitions import defs

REPOSITORY = defs.get_repository_def()
GRAPH = REPOSITORY.asset_graph
ASSETS = sorted(GRAPH.materializable_asset_keys)
JOBS = [job for job in REPOSITORY.get_all_jobs() if not job.name.startswith("__")]


def fields(job: dg.JobDefinition) -> dict[str, str | None]:
    """What the launchpad offers for the job's own steps, with its description."""
    found: dict[str, str | None] = {}
    whole = getattr(job.run_config_schema.run_config_schema_type, "fields", {})
    ops = whole["ops"].config_type.fields
    for step, of_step in ops.items():
        told = getattr(of_step.config_type, "fields", {}).get("config")
        for name, field in (getattr(told.config_type, "fields", None) or {}).items() if told else ():
            found[f"{step}.{name}"] = field.description
    return found


def test_there_are_jobs_and_assets_to_look_at() -> None:
    assert len(JOBS) >= 10
    assert len(ASSETS) >= 15


@pytest.mark.parametrize("key", ASSETS, ids=lambda key: key.to_user_string())
def test_the_graph_reads_from_left_to_right_by_group(key: dg.AssetKey) -> None:
    node = GRAPH.get(key)
    assert node.group_name[:2] in {f"{number}_" for number in range(1, 6)}
    assert all(GRAPH.get(parent).group_name <= node.group_name for parent in node.parent_keys)


@pytest.mark.parametrize("key", ASSETS, ids=lambda key: key.to_user_string())
def test_every_column_says_what_it_holds(key: dg.AssetKey) -> None:
    schema = GRAPH.get(key).metadata["dagster/column_schema"].value
    assert schema.columns
    assert [column.name for column in schema.columns if not column.description or not column.type] == []


@pytest.mark.parametrize("key", ASSETS, ids=lambda key: key.to_user_string())
def test_group_and_asset_names_fit_where_the_graph_shows_them(key: dg.AssetKey) -> None:
    assert len(GRAPH.get(key).group_name) <= 16


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
def test_launching_a_job_as_it_stands_is_valid(job: dg.JobDefinition) -> None:
    dg.validate_run_config(job, {})


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
def test_what_the_launchpad_offers_is_explained(job: dg.JobDefinition) -> None:
    assert [name for name, text in fields(job).items() if not text] == []


def test_the_walk_over_the_launchpad_finds_what_is_offered() -> None:
    drain = next(job for job in JOBS if job.name == "drain_gaps")
    assert set(fields(drain)) == {f"gap_queue.{name}" for name in ("max_requests", "coin", "start", "end")}


@pytest.mark.parametrize("config", [{"ops": {"gap_queue": {"config": {"max_requests": 0}}}}, {"opps": {}}])
def test_a_config_that_makes_no_sense_is_refused_before_it_runs(config: dict[str, object]) -> None:
    job = next(job for job in JOBS if job.name == "drain_gaps")
    if "opps" in config:
        with pytest.raises(dg.DagsterInvalidConfigError):
            dg.validate_run_config(job, config)
    else:
        dg.validate_run_config(job, config)  # Dagster knows the types; the bound is the asset's own


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
def test_a_job_runs_in_the_lane_of_what_it_makes(job: dg.JobDefinition) -> None:
    made = [GRAPH.get(key) for key in job.asset_layer.executable_asset_keys if key in ASSETS]
    lanes = {node.tags["hl/lane"] for node in made if "hl/lane" in node.tags}
    assert not lanes or job.tags.get("hl/lane") in lanes
