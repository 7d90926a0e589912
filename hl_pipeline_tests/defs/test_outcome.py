"""What a check's result says to whoever opens it, and what it never says."""

from __future__ import annotations

import dagster as dg
import pytest

from hl_pipeline.defs.checks.outcome import judging, outcome, result_of, results
from hl_pipeline.defs.launch import run_job
from hl_pipeline.health.status import Status, Verdict, unknown
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.failure import DatabaseUnavailable
from hl_pipeline.runtime import Pipeline

KEY = dg.AssetCheckKey(dg.AssetKey("live_candles"), "gaps_before_deadline")


def test_a_failure_says_what_how_bad_until_when_and_what_to_press_and_brings_its_runbook() -> None:
    found = outcome(KEY, passed=False, found="30 slots are nearly gone", step="press it", until="until noon")
    assert found.description == (
        "30 slots are nearly gone. How bad: an error: these slots are about to be lost for good. "
        "Can be healed: until noon. Next: press it"
    )
    assert found.metadata["next step"] == dg.MetadataValue.text("press it")
    assert found.metadata["runbook"] == dg.MetadataValue.path("docs/runbooks/gaps_before_deadline.md")
    text = found.metadata["runbook text"]
    assert isinstance(text, dg.MarkdownMetadataValue)
    assert "# gaps_before_deadline" in str(text.md_str)


def test_what_the_check_does_not_say_itself_its_runbook_does() -> None:
    found = outcome(KEY, passed=False, found="30 slots are nearly gone", is_grave=False)
    assert found.severity is dg.AssetCheckSeverity.WARN
    assert "How bad: a warning: " in str(found.description)
    assert "run the drain_gaps job" in str(found.metadata["next step"].value)


def test_a_pass_says_what_was_found_and_no_more() -> None:
    found = outcome(KEY, passed=True, found="no gap", metadata={"slots": 0})
    assert found.description == "no gap"
    assert set(found.metadata) == {"runbook", "slots"}


def test_a_verdicts_next_step_takes_the_place_of_the_runbooks() -> None:
    verdict = Verdict("gaps_before_deadline", Status.DEGRADED, "found. Next: wait", {"slots": 3, "none": None})
    found = result_of(KEY, verdict)
    assert str(found.description).endswith("Next: wait")
    assert found.metadata["slots"].value == 3
    assert "none" not in found.metadata


def test_what_could_not_be_measured_is_no_result_and_fails_the_step_after_the_others() -> None:
    other = dg.AssetCheckKey(KEY.asset_key, "no_vanished_rows")
    told = results([(KEY, unknown(KEY.name, "no such table")), (other, Verdict(other.name, Status.HEALTHY, "fine"))])
    assert next(told).check_name == "no_vanished_rows"
    with pytest.raises(dg.Failure, match="gaps_before_deadline could not run, which says nothing about the data"):
        next(told)


@pytest.mark.parametrize(
    ("error", "may_retry"), [(DatabaseUnavailable("no server"), True), (KeyError("a column"), False)]
)
def test_whatever_keeps_a_check_from_running_fails_its_step(error: Exception, may_retry: bool) -> None:
    with pytest.raises(dg.Failure, match="this check could not run") as failure, judging("this check"):
        raise error
    assert failure.value.allow_retries is may_retry


def test_old_data_say_until_when_they_can_be_had(
    pipeline: Pipeline, instance: dg.DagsterInstance, clock: ManualClock
) -> None:
    run_job("collect", pipeline=pipeline, instance=instance)
    clock.advance(50 * 60_000)
    outcome_ = run_job("health", pipeline=pipeline, instance=instance)
    checks = {check.name: check for check in outcome_.checks}
    # the newest 15m candle closed at 12:00; the exchange keeps 5000 of them, which is 52 days and two hours
    assert "until 2026-03-03 14:00 UTC" in checks["live_candles/fresh_15m"].description
    assert "recoverable for 52 d 1 h" in checks["live_candles/fresh_15m"].description


def test_freshness_that_cannot_be_measured_does_not_pass(pipeline: Pipeline, instance: dg.DagsterInstance) -> None:
    run_job("collect", pipeline=pipeline, instance=instance)
    with pipeline.database.connection() as connection:
        connection.execute(b"alter function hl.due_and_settled rename to due_and_settled_gone")
    outcome_ = run_job("health", pipeline=pipeline, instance=instance)
    assert not outcome_.success
    assert [check.name for check in outcome_.checks if "fresh_" in check.name] == []
