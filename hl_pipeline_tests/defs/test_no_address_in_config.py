"""Whoever may launch a run cannot point it at another host: no configuration holds an address (finding 7)."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest

from hl_pipeline.definitions import defs
from hl_pipeline.defs.listing import build
from hl_pipeline.defs.resources import pipeline_from_environment, settings_from_environment

REPOSITORY = defs.get_repository_def()
ADDRESSES = {"url", "endpoint", "endpoints", "host", "hosts", "dsn", "address", "venue", "port", "proxy", "path"}
EVIL = "https://evil.example"


def fields(job: dg.JobDefinition) -> set[tuple[str, ...]]:
    """Every field of a run's configuration, as the names that lead to it; Dagster's loggers and executor left out."""
    found: set[tuple[str, ...]] = set()
    todo: list[tuple[tuple[str, ...], Any]] = [((), job.run_config_schema.run_config_schema_type)]
    while todo:
        above, kind = todo.pop()
        for name, field in (getattr(kind, "fields", None) or {}).items():
            if (*above, name)[0] not in {"loggers", "execution"}:
                found.add((*above, name))
                todo.append(((*above, name), field.config_type))
    return found


@pytest.mark.parametrize("job", REPOSITORY.get_all_jobs(), ids=lambda job: job.name)
def test_no_field_that_a_launcher_may_set_is_named_like_an_address(job: dg.JobDefinition) -> None:
    names = fields(job)
    assert ("ops",) in names, "the walk has found nothing, so it proves nothing"
    told = {name for name in names if name[0] != "ops" or len(name) > 2}  # above that stand the assets' own names
    assert {name for name in told if set(name[-1].split("_")) & ADDRESSES} == set()


def test_the_walk_reaches_what_an_asset_can_be_told() -> None:
    assert any(name[-1] == "max_requests" for name in fields(REPOSITORY.get_job("drain_gaps")))


@pytest.mark.parametrize("resource", [settings_from_environment, pipeline_from_environment])
def test_neither_resource_takes_any_configuration(resource: dg.ResourceDefinition) -> None:
    kind = resource.config_schema.config_type
    assert kind is not None
    assert getattr(kind, "fields", None) == {}


@pytest.mark.parametrize("job", ["collect", "health", "drain_gaps", "refresh_markets", "backfill_candles"])
@pytest.mark.parametrize(
    "resources",
    [
        {"settings": {"config": {"endpoint": EVIL}}},
        {"settings": {"config": {"endpoints": [EVIL]}}},
        {"pipeline": {"config": {"endpoint": EVIL}}},
        {"pipeline": {"config": {"settings": {"endpoint": EVIL, "venue": "sandbox"}}}},
        {"source": {"config": {"url": EVIL}}},
    ],
    ids=str,
)
def test_a_run_that_names_another_host_is_not_begun(job: str, resources: dict[str, Any]) -> None:
    definition = build().resolve_job_def(job)
    with pytest.raises(dg.DagsterInvalidConfigError, match="Received unexpected config entr"):
        definition.execute_in_process(run_config={"resources": resources}, raise_on_error=True)
