"""The checks of what the pipeline runs on: Dagster's daemon, its runs and switches, the disk, the channels; and trust.

They judge the one health report, so what they say is what `hl health` says.
"""

# no postponed annotations here: Dagster refuses a context whose type is a string
from collections.abc import Iterator

import dagster as dg

from hl_pipeline.defs.assets.latest_metrics import latest_metrics
from hl_pipeline.defs.assets.system_health import report_of, system_health
from hl_pipeline.defs.checks.outcome import judging, result_of, specs_of
from hl_pipeline.health.status import Status
from hl_pipeline.runtime import Pipeline

_MACHINERY = {
    "daemon_alive": "Dagster's daemon spoke within 90 s, and each thread that is needed within five minutes. When it "
    "fails: does `hl up` run? Its daemon.log says why the daemon ended.",
    "runs_finish": "No run waits for a quarter of an hour or hangs, and no job's newest run failed. When it fails: "
    "open the run, its log says why; terminate one that hangs, the next tick plans anew.",
    "automation_on": "The schedules and sensors without which the pipeline stands still, blind or mute are on. When it "
    "fails: `hl start NAME`, or turn them on under Automation.",
    "disk_has_room": "The disk of our folder has room: at least 10 % or 5 GB (an error under 3 % and 500 MB). When it "
    "fails: free some; Postgres stops writing when nothing is left.",
    "memory_bounded": "The process that reports holds at most 2,048 MB. When it fails: restart it, and report it.",
    "alerts_delivered": "No notice waits five minutes for its channel, and nine of ten attempts are taken. When it "
    "fails: `hl alerts list` says which channel does not take its notices and why.",
}
_TRUST = {
    "data_trusted": "95 % of the latest metrics have a confidence of .75 or more; an error when the mean of all series "
    "is under .30. When it fails: `hl confidence` names the weakest component of each series and why.",
}


@dg.multi_asset_check(
    name="machinery",
    specs=[*specs_of(system_health, _MACHINERY), *specs_of(latest_metrics, _TRUST)],
    can_subset=True,
    description="What the pipeline runs on, and how far what it holds is trusted.",
)
def machinery(
    context: dg.AssetCheckExecutionContext, pipeline: dg.ResourceParam[Pipeline]
) -> Iterator[dg.AssetCheckResult]:
    """Judge the chosen checks. One that cannot be judged fails the step after the others; it never passes."""
    with judging("machinery"):
        found = report_of(pipeline)
    unjudged = []
    for key in sorted(context.selected_asset_check_keys):
        verdict = found.verdict(key.name)
        if verdict.status is Status.UNKNOWN:
            unjudged.append(f"{key.name} {verdict.sentence}")
        else:
            yield result_of(key, verdict)
    if unjudged:
        raise dg.Failure(f"could not be judged, which says nothing about the data: {'; '.join(unjudged)}")
