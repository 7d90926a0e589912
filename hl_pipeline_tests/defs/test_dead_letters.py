"""Dead letters in Dagster: the check that tells of them, and the job that asks again."""

from __future__ import annotations

from dagster import DagsterInstance

from hl_pipeline.defs.dead_letters import retry_dead_letters
from hl_pipeline.defs.launch import run_job
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.failure import RequestRefused
from hl_pipeline.runtime import Pipeline
from hl_pipeline_tests.fakes import FakeExchange

HOUR = 3_600_000


def test_a_dead_letter_fails_its_check_until_the_job_has_it_answered(
    pipeline: Pipeline, instance: DagsterInstance, exchange: FakeExchange, clock: ManualClock
) -> None:
    run_job("collect", pipeline=pipeline, instance=instance)
    exchange.error = lambda request: RequestRefused("422: no") if request.series.coin == "ETH" else None
    for _ in range(5):
        clock.advance(HOUR)
        run_job("collect", pipeline=pipeline, instance=instance)

    def check() -> tuple[bool, str, str]:
        checks = {found.name: found for found in run_job("health", pipeline=pipeline, instance=instance).checks}
        found = checks["live_candles/no_dead_letters"]
        return found.passed, found.description, str(found.metadata.get("next step"))

    passed, description, step = check()
    assert not passed
    assert "dead letters (bound 0; " in description
    assert "refused" in description
    assert step.startswith("read hl dlq list")

    exchange.error = lambda _: None
    config = {"ops": {"ask_for_dead_letters": {"config": {"kind": "bad_answer"}}}}
    resources = {"pipeline": pipeline}
    assert retry_dead_letters.execute_in_process(config, resources=resources, instance=instance).success
    assert check()[0] is False, "those of another kind were not asked for"

    result = retry_dead_letters.execute_in_process(resources=resources, instance=instance)
    assert result.success
    (output,) = [event for event in result.all_events if event.is_successful_output]
    metadata = output.step_output_data.metadata
    assert metadata["healed"].value == metadata["retried"].value
    assert metadata["still dead"].value == 0
    assert check()[0] is True
