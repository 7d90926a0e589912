"""``hl status``: what is stored, how old it is, what is missing, what the budget holds, which alerts are open."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import click

from hl_pipeline.cli.screen import age, console, print_json, table
from hl_pipeline.examine import PATIENT_S, examine
from hl_pipeline.health.report import Report
from hl_pipeline.health.verdict import Verdict
from hl_pipeline.model.settle import SettleTime
from hl_pipeline.runtime import open_pipeline
from hl_pipeline.settings import Settings
from hl_pipeline.storage import coverage, markets
from hl_pipeline.storage.budget import BudgetState
from hl_pipeline.storage.coverage import IntervalCoverage
from hl_pipeline.storage.markets import MarketCounts, MarketNews
from hl_pipeline.storage.overview import OpenAlert, open_alerts

#: What happened to markets is shown for a week.
NEWS_REACH_MS = 7 * 86_400_000


@dataclass(frozen=True, slots=True)
class Status:
    """The answer to ``hl status``, at market time ``now_ms``."""

    venue: str
    database: str
    now_ms: int
    markets: MarketCounts
    news: list[MarketNews]
    intervals: list[IntervalCoverage]
    budget: BudgetState
    alerts: list[OpenAlert]
    settle: SettleTime
    health: Report

    @property
    def stream(self) -> Verdict:
        """How the live stream stands."""
        return self.health.verdict("stream_alive")

    @property
    def endpoints(self) -> Verdict:
        """How the ways to the exchange stand."""
        return self.health.verdict("endpoints_healthy")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document; times in ms UTC.")
def status(as_json: bool) -> None:
    """What is stored, how old it is, and what is missing.

    A slot is one candle's place. Slots that are due and not yet asked for
    count as gaps.
    """
    found = read(Settings.load())
    if as_json:
        print_json(as_document(found))
    else:
        _show(found)


def read(settings: Settings) -> Status:
    """Ask the database.

    Raises:
        DatabaseUnavailable: it is not running.
        SchemaMismatch: it must be migrated first.
    """
    with open_pipeline(settings, only_looks=True) as pipeline:
        now_ms = pipeline.clock.now_ms()
        with pipeline.database.connection() as connection:
            intervals = coverage.by_interval(connection, now_ms, pipeline.policy.proof.settle_ms)
            alerts, budget = open_alerts(connection), pipeline.budget.state(connection)
            counts, news = markets.counts(connection), markets.news(connection, now_ms - NEWS_REACH_MS)
        address, settle = pipeline.database.address, pipeline.settle
        found = examine(
            settings,
            database=pipeline.database,
            clock=pipeline.clock,
            settle_s=settle.ms / 1000,
            deadline_s=PATIENT_S,
        )
        return Status(settings.venue, address, now_ms, counts, news, intervals, budget, alerts, settle, found)


def as_document(found: Status) -> dict[str, Any]:
    """The status as JSON can say it."""
    return {
        "venue": found.venue,
        "health": headline_document(found.health),
        "database": found.database,
        "now_ms": found.now_ms,
        "markets": found.markets._asdict(),
        "market_news": [{**news._asdict(), "sentence": news.sentence} for news in found.news],
        "intervals": [interval_document(row) for row in found.intervals],
        "weight": {"limit": found.budget.max_weight, "left": found.budget.remaining},
        "alerts": [alert._asdict() for alert in found.alerts],
        "stream": {"alive": found.stream.passed, "sentence": found.stream.sentence, **found.stream.numbers},
        "endpoints": {"well": found.endpoints.passed, "sentence": found.endpoints.sentence, **found.endpoints.numbers},
        "settle": {**asdict(found.settle), "sentence": found.settle.sentence},
    }


def _show(found: Status) -> None:
    screen = console()
    screen.print(f"Exchange: {found.venue} · database: {found.database}")
    screen.print(f"Health: {headline(found.health)}\n", markup=False)
    if not found.intervals:
        screen.print("Nothing is tracked yet: run `hl collect`, or `hl up` to collect on a schedule.")
    else:
        screen.print(coverage_table(found.intervals, found.now_ms))
        screen.print("\nSlots: final = read after it settled; empty = proven to have had no trade; "
                     "provisional = streamed, confirmed within the hour; "
                     "gap = expected, not here yet; lost = the exchange forgot it first.")  # fmt: skip
    _show_markets(found)
    weight = found.budget
    screen.print(f"Endpoints: {found.endpoints.sentence}", markup=False)
    screen.print(f"Stream: {found.stream.sentence}", markup=False)
    screen.print(f"Settle time: {found.settle.sentence}", markup=False)
    screen.print(f"\nRequest weight left this minute: {weight.remaining:,} of {weight.max_weight:,}")
    if not found.alerts:
        screen.print("Open alerts: none")
        return
    screen.print(f"Open alerts: {len(found.alerts)}")
    for alert in found.alerts:
        since = age(found.now_ms - alert.first_seen_ms)
        screen.print(f"  {alert.severity}: {alert.summary} (for {since}). Next: {alert.next_step}", markup=False)


def _show_markets(found: Status) -> None:
    counts, screen = found.markets, console()
    screen.print(
        f"\nMarkets: {counts.named + counts.by_universe} collected, {counts.named} of them named in HL_MARKETS, "
        f"{counts.by_universe} brought in by HL_UNIVERSE"
    )
    if counts.absent:
        screen.print(f"Not named by the exchange any more: {', '.join(counts.absent)}", markup=False)
    for news in found.news:
        screen.print(f"  {age(max(0, found.now_ms - news.at_ms))} ago: {news.sentence}", markup=False)


def headline(found: Report) -> str:
    """The health report in a line."""
    bad = [verdict.name for verdict in found.verdicts if not verdict.passed]
    said = f"{found.status}, score {found.score} of 100 ({found.band})"
    return f"{said}; not well: {', '.join(bad)}. `hl health` says why" if bad else said


def headline_document(found: Report) -> dict[str, Any]:
    """The same as JSON can say it."""
    bad = [verdict.name for verdict in found.verdicts if not verdict.passed]
    return {"status": str(found.status), "score": found.score, "not_well": bad}


def interval_document(row: IntervalCoverage) -> dict[str, Any]:
    """One interval's coverage as JSON can say it."""
    return {**row._asdict(), "interval": str(row.interval), "gap": row.gap}


def coverage_table(intervals: list[IntervalCoverage], now_ms: int) -> Any:
    """One row an interval."""
    columns = [("interval", "left"), ("markets", "right"), ("newest candle", "right")]
    columns += [(name, "right") for name in ("final", "empty", "provisional", "gap", "lost")]
    rows = [
        (
            row.interval,
            row.series,
            "-" if row.newest_close_ms is None else f"{age(max(0, now_ms - row.newest_close_ms))} old",
            row.final,
            row.empty,
            row.provisional,
            row.gap,
            row.lost,
        )
        for row in intervals
    ]
    return table(columns, rows)
