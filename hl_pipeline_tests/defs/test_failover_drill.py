"""The drill in Dagster: its own exchange and database, a table of steps, and a failed run that people are told of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import dagster as dg
import pytest

from hl_pipeline import drill as drills
from hl_pipeline.defs.listing import build
from hl_pipeline.model.clock import Clock
from hl_pipeline.sandbox.faults import Fault, FaultKind
from hl_pipeline.settings import Settings

#: Where nobody listens: whoever goes to the installation's own database or exchange fails.
NOWHERE = {
    "venue": "sandbox",
    "endpoint": "http://127.0.0.1:1",
    "database_url": "postgresql://nobody:nothing@127.0.0.1:1/hl",
}


def played(home: Path, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    definitions = build(settings=Settings(**NOWHERE, home=home))
    return definitions.resolve_job_def("failover_drill").execute_in_process(instance=instance, raise_on_error=False)


def steps(metadata: Mapping[str, object]) -> list[dict[str, object]]:
    found = metadata["steps"]
    assert isinstance(found, dg.TableMetadataValue)
    return [dict(record.data) for record in found.records]


def test_the_run_says_of_each_step_what_was_expected_what_was_seen_and_how_long_it_took(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    result = played(tmp_path, instance)
    assert result.success
    (done,) = [event for event in result.all_events if event.is_successful_output]
    metadata = dict(done.step_output_data.metadata)
    rows = steps(metadata)
    assert [row["held"] for row in rows] == ["yes"] * len(drills.STEPS)
    assert all(row["expected"] and row["seen"] and isinstance(row["seconds"], float) for row in rows)
    assert str(metadata["outcome"].value).startswith("failover works: 4 of 4 steps held")
    assert not (tmp_path / "sandbox" / "drill").exists()


def test_a_broken_failover_fails_the_run_with_a_sentence_that_names_the_step(
    tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = drills.drill

    def sabotaged(folder: Path, clock: Clock) -> drills.DrillReport:
        return real(folder, clock, spare_faults=[Fault(FaultKind.BAD_GATEWAY)])

    monkeypatch.setattr(drills, "drill", sabotaged)
    result = played(tmp_path, instance)
    assert not result.success
    (failed,) = [event for event in result.all_events if event.is_step_failure]
    told = failed.step_failure_data.user_failure_data
    assert told is not None
    assert told.description is not None
    assert told.description.startswith("failover drill, step 2 of 4, the first endpoint fails: expected ")
    assert [row["held"] for row in steps(dict(told.metadata))] == ["yes", "no"]
