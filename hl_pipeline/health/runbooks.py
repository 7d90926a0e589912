"""What a failed check costs, until when it can be healed, and what to press: the short form of docs/runbooks.

A check's own words say what is wrong now; these say what that means for whoever
is called. One entry a check name, and one page of the same name.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from hl_pipeline.health.reconciliation import PERIODS, check_name
from hl_pipeline.model.interval import WINDOW_SLOTS, Interval
from hl_pipeline.model.open_gap import time_left

#: Where the pages stand, from the project's root.
FOLDER = "docs/runbooks"


class Runbook(NamedTuple):
    """``harm``: what is at stake. ``until``: how long it can be put right. ``press``: what to do first."""

    harm: str
    until: str
    press: str


def runbook_path(check: str) -> str:
    """The page of a check, from the project's root."""
    return f"{FOLDER}/{check}.md"


def _fresh(interval: Interval) -> Runbook:
    keeps = time_left(WINDOW_SLOTS * interval.milliseconds)
    return Runbook(
        f"whoever reads the newest {interval} candles reads old ones; nothing is lost yet",
        f"all of it, for {keeps} from when it stopped: so long the exchange keeps {interval} candles",
        "run the `collect` job; if the `collect_each_minute` schedule is off, turn it on",
    )


def _reconciles(interval: Interval) -> Runbook:
    keeps = time_left(WINDOW_SLOTS * Interval.M1.milliseconds)
    return Runbook(
        f"either the {interval} candle or one of its minutes is wrong, and nobody knows which",
        f"for {keeps} from the candle's time: so long the exchange can still be asked for its minutes",
        "read the window again: `hl collect --again --coins COIN --window START..END`",
    )


_OWN_CLOCK = "each gap until its own deadline, which `hl gaps` names; a 1m candle for 3 d 11 h"
_REFETCH = "look at the failing rows, then read their span again: `hl collect --again --coins COIN --window START..END`"
_ANY_TIME = "any time: nothing is lost by waiting"

RUNBOOKS: Mapping[str, Runbook] = {
    "api_answers": Runbook(
        "candles arrive late; the stream goes on by itself, and gaps queue up",
        _OWN_CLOCK,
        "nothing at first: every tick asks again. If it stays, read the newest errors in `hl.fetch`",
    ),
    "budget_has_room": Runbook(
        "requests wait their turn: back-fills first, then gaps, the live edge last",
        _OWN_CLOCK,
        "cancel a running back-fill, or lower `HL_WEIGHT_PER_MINUTE` when answers of 429 come",
    ),
    "endpoints_healthy": Runbook(
        "fewer ways to the exchange are left; with none, nothing is collected",
        _OWN_CLOCK,
        "open `endpoint_health`: its metadata says what each endpoint last failed of; one that is well takes the load",
    ),
    "database_answers": Runbook(
        "everything waits for Postgres; when it stops, collecting stops",
        _OWN_CLOCK,
        "look for long statements in `pg_stat_activity`, a full disk, a machine that swaps",
    ),
    "coverage_complete": Runbook(
        "slots are missing that should be there, and readers see holes",
        _OWN_CLOCK,
        "run the `collect` job, then `drain_gaps`; `hl gaps` says of each gap why it is open",
    ),
    "gaps_before_deadline": Runbook(
        "these slots are about to be lost for good",
        "the deadline that is named here, and not a minute longer",
        "run the `drain_gaps` job now: it asks for these first, before the live edge",
    ),
    "no_dead_letters": Runbook(
        "these slots stay a gap: nobody asks for them any more",
        _OWN_CLOCK,
        "read `hl dlq list`, remove the cause it names, then run the `retry_dead_letters` job or `hl dlq retry`",
    ),
    "no_vanished_rows": Runbook(
        "the exchange no longer shows candles that it once showed; ours are kept, so nothing is lost",
        "while another source still has these candles",
        "read `hl.vanished_row` and compare with another source; set `accepted_at` when it is understood",
    ),
    "stream_alive": Runbook(
        "new candles come minutes later, by REST, and cost more weight; none is lost",
        _ANY_TIME,
        "see whether `hl stream` runs (`hl up` keeps it running) and what its log says",
    ),
    "rows_keep_contract": Runbook(
        "wrong candles are stored and readers see them",
        "while the exchange has the candles: 1m for 3 d 11 h, 1h for 208 d",
        _REFETCH,
    ),
    "ledger_holds": Runbook(
        "the ledger says something else than the candles, so gaps may go unseen; somebody wrote past the pipeline",
        "while the exchange has the candles: 1m for 3 d 11 h, 1h for 208 d",
        "stop the schedules, run `hl verify`, and find out who else writes to `hl.candle`",
    ),
    "funding_is_fresh": Runbook(
        "the newest funding rates are missing; none is lost, the exchange keeps them since the listing",
        _ANY_TIME,
        "run the `refresh_funding` job, again while *history unfinished* names a market",
    ),
    "candles_contract": Runbook(
        "wrong candles are stored and readers see them",
        "while the exchange has the candles: 1m for 3 d 11 h, 1h for 208 d",
        _REFETCH,
    ),
    "markets_contract": Runbook(
        "markets may be tracked by mistake or left out, and prices be rounded wrongly by who trusts the decimals",
        _ANY_TIME,
        "run the `refresh_markets` job; if the rows stay, compare them with the exchange's `meta` answer",
    ),
    "contexts_contract": Runbook(
        "quotes are wrong or old, and with them mark, mid and funding in `hl.latest`",
        "never: a quote is of its instant. What comes next may be right",
        "run the `collect` job, which asks for the newest quotes, then the `contracts` job",
    ),
    "funding_contract": Runbook(
        "funding that is reckoned from these rates is wrong",
        _ANY_TIME,
        "compare the failing rows with the exchange's `fundingHistory` answer; then run the `refresh_funding` job",
    ),
    "metrics_contract": Runbook(
        "who reads `hl.latest` reads wrong or old numbers",
        _ANY_TIME,
        "run the `recalculate_confidence` job, which refreshes the view; if it stays, look at `candles_contract`",
    ),
    "month_keeps_contract": Runbook(
        "the month is recorded as whole and holds rows that are wrong, or fewer than the ledger counts",
        "while the exchange has the candles: 1m for 3 d 11 h, 1h for 208 d",
        "run `hl verify`, then read the month again: `hl collect --again --coins COIN --window START..END`",
    ),
    "service_levels_met": Runbook(
        "a promise with a number was broken in the last seven days; readers may have waited, or missed something",
        _ANY_TIME,
        "hold the 24 h beside the 7 d in the table of `service_levels`: is it over, or going on?",
    ),
    "performance_has_not_regressed": Runbook(
        "runs are much slower or larger than they were; none fails for that yet",
        _ANY_TIME,
        "find in *Plots* when it began, and what changed then: code, markets, the machine, the way to the exchange",
    ),
    "daemon_alive": Runbook(
        "nothing is collected but what the stream brings, and no alert is sent",
        _OWN_CLOCK,
        "run `hl up`; if it runs, read daemon.log among its logs",
    ),
    "runs_finish": Runbook(
        "a lane stands still: what its job does is not done until a run of it succeeds",
        "any time: each run plans anew from the ledger, so nothing is lost by a failed one",
        "open the run that is named: its log says why; terminate one that hangs",
    ),
    "automation_on": Runbook(
        "what is off is not done: collecting, healing gaps, or telling people",
        _OWN_CLOCK,
        "turn on what is named: `hl start NAME`, or its switch under Automation",
    ),
    "disk_has_room": Runbook(
        "when it is full Postgres stops writing, and collecting stops with it; what is stored stays",
        "any time before it is full; after that each gap until its own deadline, which `hl gaps` names",
        "free some: `du` under the folder that is named says what takes it",
    ),
    "memory_bounded": Runbook(
        "the machine may begin to swap, and then everything is late",
        _ANY_TIME,
        "restart the process that is large; `hl up` starts it again when it ends",
    ),
    "alerts_delivered": Runbook(
        "who reads only the channel that fails is not told of anything",
        "any time: notices wait and are sent again",
        "`hl alerts test` says which channel does not take a notice, and why",
    ),
    "data_trusted": Runbook(
        "readers see numbers that may be wrong, each with its low grade",
        "any time, unless gaps are the cause: each until its own deadline, which `hl gaps` names",
        "`hl confidence` names the weakest component of each series and why",
    ),
    **{f"fresh_{interval}": _fresh(interval) for interval in Interval},
    **{check_name(interval): _reconciles(interval) for interval in PERIODS},
    "nothing_due_is_left": Runbook(
        "the disk fills with what nobody needs any more; nothing is wrong with the data",
        _ANY_TIME,
        "open `retention`: *kept* says why a month could not go. Make room for the export, then run the "
        "`apply_retention` job",
    ),
}
#: The page that helps with what an alert rule (hl.alert_rule) tells.
PAGE_OF_RULE: Mapping[str, str] = {
    "database_down": "database_answers",
    "database_slow": "database_answers",
    "exchange_down": "endpoints_healthy",
    "error_rate": "api_answers",
    "api_latency": "api_answers",
    "throughput": "fresh_1m",
    "coverage": "coverage_complete",
    "gap_deadline": "gaps_before_deadline",
    "budget_exhausted": "budget_has_room",
    "rate_limited": "budget_has_room",
    "stream_down": "stream_alive",
    "endpoint_unwell": "endpoints_healthy",
    "rows_vanished": "no_vanished_rows",
    "contract_broken": "rows_keep_contract",
}


def page(check: str) -> str:
    """The runbook of a check as Markdown; empty where it is not installed.

    In a checkout the pages stand in ``docs/runbooks`` beside the package; a wheel carries them as
    ``hl_pipeline/_runbooks``.
    """
    package = Path(__file__).resolve().parent.parent
    for folder in (package.parent / FOLDER, package / "_runbooks"):
        if (found := folder / f"{check}.md").is_file():
            return found.read_text(encoding="utf-8")
    return ""
