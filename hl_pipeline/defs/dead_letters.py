"""Asking once more for the windows that failed for good, when a person says that the reason is gone."""

# no postponed annotations here: Dagster refuses a context whose type is a string

import dagster as dg
from pydantic import Field

from hl_pipeline.collect.dead_letters import RetryReport, retry_and_drain
from hl_pipeline.defs.describe import said_plainly, table
from hl_pipeline.model.dead_letter import FailureKind, Outcome
from hl_pipeline.runtime import Pipeline


class WhichLetters(dg.Config):
    """Which dead letters are retried."""

    kind: str = Field(
        default="",
        pattern=f"^({'|'.join(FailureKind)})?$",
        description=f"Only those of this kind: {', '.join(FailureKind)}. Empty: all that are open.",
    )


@dg.op(out=dg.Out(dg.Nothing), tags={"kind": "postgres"})
def ask_for_dead_letters(
    context: dg.OpExecutionContext, pipeline: dg.ResourceParam[Pipeline], config: WhichLetters
) -> None:
    """Retry the open dead letters in the gap lane, and say what became of each."""
    with said_plainly():
        report = retry_and_drain(
            pipeline.source,
            pipeline.database,
            pipeline.clock,
            pipeline.policy,
            kind=FailureKind(config.kind) if config.kind else None,
            run_id=context.run.run_id,
        )
    for letter in report.letters:
        context.log.info("dead letter %d, %s %s: %s", letter.number, *letter.key, letter.outcome)
    context.add_output_metadata(retry_metadata(report))


def retry_metadata(report: RetryReport) -> dict[str, dg.MetadataValue | int]:
    """How many letters were retried, what became of them, and what it cost."""
    rows = [
        {
            "letter": letter.number,
            "coin": letter.key.coin,
            "interval": str(letter.key.interval),
            "kind": str(letter.kind),
            "outcome": str(letter.outcome),
            "slots waiting": letter.count(letter.waiting),
            "error": "" if letter.resolved_ms else letter.error,
        }
        for letter in report.letters
    ]
    return {
        "retried": len(report.letters),
        "healed": report.count(Outcome.HEALED),
        "still dead": report.count(Outcome.OPEN),
        "still due": report.count(Outcome.RETRIED),
        "weight spent": report.fill.weight,
        "letters": table(rows),
    }


@dg.job(
    name="retry_dead_letters",
    description="Ask once more for the windows that failed for good, all or those of one kind, in the gap lane. What "
    "fails again stays a dead letter.",
    tags={"hl/lane": "gap"},
    executor_def=dg.in_process_executor,
)
def retry_dead_letters() -> None:
    """Retry, and drain what that makes due."""
    ask_for_dead_letters()
