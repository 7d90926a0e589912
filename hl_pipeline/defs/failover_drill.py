"""The failover drill as a job: does this installation still go over to its second endpoint, and come back?"""

# no postponed annotations here: Dagster refuses a context whose type is a string
from typing import TYPE_CHECKING, Any

import dagster as dg

from hl_pipeline.defs.describe import said_plainly, table
from hl_pipeline.defs.tags import LANE
from hl_pipeline.model.clock import SystemClock
from hl_pipeline.settings import Settings

if TYPE_CHECKING:
    from hl_pipeline.drill import DrillReport


@dg.op(out=dg.Out(dg.Nothing), tags={"kind": "postgres"})
def rehearse_failover(context: dg.OpExecutionContext, settings: dg.ResourceParam[Settings]) -> None:
    """Play the drill, and say of each step what was expected, what was seen, and how long it took.

    Without the pipeline's resource on purpose: it has no way to the exchange or to the installation's tables.
    """
    from hl_pipeline.drill import drill  # here, because the sandbox and its server are of use to no other run

    with said_plainly():
        report = drill(settings.drill_folder, SystemClock(settings.clock_offset_ms))
    if not report.held:
        raise dg.Failure(report.sentence, metadata=drill_metadata(report), allow_retries=False)
    context.log.info(report.sentence)
    context.add_output_metadata(drill_metadata(report))


def drill_metadata(report: "DrillReport") -> dict[str, Any]:
    """The steps as a table, and what came of them in a sentence."""
    rows = [
        {
            "step": step.name,
            "held": "yes" if step.held else "no",
            "expected": step.expected,
            "seen": step.seen,
            "market minutes": step.market_minutes,
            "seconds": step.seconds,
        }
        for step in report.steps
    ]
    return {"outcome": report.sentence, "steps": table(rows)}


@dg.job(
    name="failover_drill",
    description="Rehearse the loss of an endpoint on the sandbox exchange, in a database made for it: the first one "
    "fails, collection goes on through the second, the first heals and takes the load back, nothing is lost. Asks the "
    "exchange nothing and touches no table of this installation.",
    tags={LANE: "drill"},
    executor_def=dg.in_process_executor,
)
def failover_drill() -> None:
    """One rehearsal."""
    rehearse_failover()
