"""The status report: everything that an operator asks first, on one page that needs no server."""

# no postponed annotations here: Dagster refuses a context whose type is a string
import dagster as dg

from hl_pipeline.collect.status_page import Frame, gather_page, write_page
from hl_pipeline.defs.assets.confidence import confidence_scores
from hl_pipeline.defs.assets.gap_queue import gap_queue
from hl_pipeline.defs.assets.latest_metrics import latest_metrics
from hl_pipeline.defs.assets.system_health import system_health
from hl_pipeline.defs.describe import HEALTH, NEXT_STEP, OWNERS, columns, said_plainly
from hl_pipeline.defs.pictures import budget_picture, heat_picture, trust_picture
from hl_pipeline.derived.report_html import indicators
from hl_pipeline.model.status_page import REPORT_FILE, StatusPage
from hl_pipeline.runtime import Pipeline, budget_weight
from hl_pipeline.storage.status_page import newest_health

SECTIONS = {
    "indicators": ("text", "availability, database, confidence, freshness: value, status, sentence"),
    "what needs you": ("text", "checks that fail and open alerts, each with its next step"),
    "coverage": ("percent", "slots settled of those due, market by UTC day"),
    "confidence": ("0 to 1", "mean and lowest of all series over 24 h"),
    "request weight": ("weight", "spent in six hours by lane, in steps of 15 minutes"),
    "last 24 hours": ("count", "points, requests, errors, gaps found and healed, time to detect and repair"),
    "open gaps": ("slots", "nearest deadline first, UTC"),
    "every series": ("text", "fresh, whole, confidence, recoverable until"),
}


@dg.asset(
    deps=[system_health, confidence_scores, latest_metrics, gap_queue],
    group_name=HEALTH,
    owners=OWNERS,
    kinds={"python", "html"},
    code_version="1",
    metadata={
        "dagster/column_schema": columns(SECTIONS),
        "the page itself": dg.MetadataValue.url("/report"),
    },
)
def pipeline_report(pipeline: dg.ResourceParam[Pipeline]) -> dg.MaterializeResult:
    """The status report, one self-contained HTML page to look at, print or send: open **[/report](/report)**.

    Written every minute with the health log, in the folder of `HL_HOME` (*path*); `hl report` writes it by hand.
    **Fresh?** It says on top of which minute it is; one that nobody renewed for ten minutes says so when it is
    opened here. **What do I do?** Its first section lists what needs you, each with the next step. The columns below
    are its sections.
    """
    with said_plainly():
        page = read_page(pipeline)
        path = pipeline.settings.venue_home / REPORT_FILE
        size = write_page(page, path)
    return dg.MaterializeResult(metadata=_told(page, path.as_posix(), size))


def read_page(pipeline: Pipeline) -> StatusPage:
    """The page of this moment, with the newest health report; unknown when that is older than five minutes."""
    now_ms = pipeline.clock.now_ms()
    frame = Frame(
        venue=pipeline.settings.venue,
        now_ms=now_ms,
        period_ms=pipeline.period_ms,
        settle_ms=pipeline.policy.proof.settle_ms,
        budget=budget_weight(pipeline.settings),
    )
    with pipeline.database.connection() as connection:
        return gather_page(connection, frame, newest_health(connection, now_ms) or {})


def _told(page: StatusPage, path: str, size: int) -> dict[str, dg.MetadataValue | int | float | str]:
    needing = [check for check in page.health.get("checks", ()) if not check.get("passed", True)]
    well = sum(one.is_fresh(page.now_ms) and one.is_whole for one in page.series)
    return {
        NEXT_STEP: f"read the first section of the page: {len(needing)} checks and {len(page.alerts)} alerts need you"
        if needing or page.alerts
        else "nothing: every check passes and no alert is open",
        "report": dg.MetadataValue.url("/report"),
        "path": dg.MetadataValue.path(path),
        **{one.name.lower(): f"{one.value}, {one.status}" for one in indicators(page)},
        **heat_picture(page.heat),
        **trust_picture(page.trust),
        **budget_picture(page.weight),
        "checks failing": len(needing),
        "open alerts": len(page.alerts),
        "gaps": len(page.gaps),
        "series": len(page.series),
        "series fresh and whole": well,
        "bytes": size,
    }
