"""Funding is up to date: the newest rate of every listed market is young enough."""

# no postponed annotations here: Dagster refuses a context whose type is a string
import dagster as dg

from hl_pipeline.defs.assets.funding_rates import funding_rates, judge_funding
from hl_pipeline.defs.checks.outcome import RUNBOOK, judging, result_of
from hl_pipeline.health.runbooks import runbook_path
from hl_pipeline.runtime import Pipeline

NAME = "funding_is_fresh"


@dg.asset_check(
    asset=funding_rates,
    name=NAME,
    description="The newest funding rate of every listed, tracked perpetual market is at most an hour older than the "
    "time between two reads of a market, so two hours with 33 markets and eight with 230; delisted ones do not count. "
    "When it fails: run the `refresh_funding` job; its metadata names what failed or is unfinished.",
    metadata={RUNBOOK: dg.MetadataValue.path(runbook_path(NAME))},
)
def funding_is_fresh(pipeline: dg.ResourceParam[Pipeline]) -> dg.AssetCheckResult:
    """Compare the newest stored rate of each market with the clock."""
    with judging(NAME):
        verdict = judge_funding(pipeline)
    return result_of(dg.AssetCheckKey(funding_rates.key, NAME), verdict)
