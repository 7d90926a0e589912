"""The pipeline's core: plan, reserve weight, fetch, judge, land with provenance and revisions, prove."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.workload import COINS, NOW_MS, Workload
from hl_pipeline.collect.fill import FillPolicy, FillReport, fill
from hl_pipeline.collect.markets import refresh_markets
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.interval import Interval
from hl_pipeline.source.rest import HyperliquidRest
from hl_pipeline.storage.budget import PostgresBudget
from hl_pipeline.storage.engine import Database
from hl_pipeline.storage.migrations import migrate


@dataclass(slots=True)
class Ours:
    """The pipeline on a fresh database, markets known, nothing collected."""

    source: HyperliquidRest
    database: Database
    clock: ManualClock
    concurrency: int = 3

    def fill(self) -> FillReport:
        """Collect everything that is due."""
        return fill(self.source, self.database, self.clock, FillPolicy(concurrency=self.concurrency))


@contextmanager
def opened(workload: Workload, database_url: str) -> Iterator[Ours]:
    """Migrate, refresh the markets, and hand over."""
    migrate(database_url)
    clock = ManualClock(NOW_MS)
    with Database(database_url, max_connections=12) as database:
        budget = PostgresBudget(database, key="bench", max_weight=1_000_000)
        budget.ensure()
        with HyperliquidRest(workload.url, budget=budget) as source:
            refresh_markets(source, database, clock, coins=COINS, intervals=tuple(Interval))
            yield Ours(source, database, clock)
