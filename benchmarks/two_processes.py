"""``python -m benchmarks.two_processes``: W1 by two processes at once, under the exchange's real limit of weight.

Half of the coins each, one database, one budget. The exchange counts weight by
its own clock in the strictest form: no sixty seconds may hold more than the limit. The ideal is the least time in
which so much weight can be spent under it: a minute's at once, again a minute later, and so on.
Takes some eight minutes, nearly all of it waiting. Exits 1 when it took more than 1.15 times the ideal, or on any 429.
"""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.workload import COINS, HISTORY_DAYS, NOW_MS
from hl_pipeline.collect.fill import FillPolicy, fill
from hl_pipeline.collect.markets import refresh_markets
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.interval import Interval
from hl_pipeline.model.tariff import EXCHANGE_WEIGHT_PER_MINUTE
from hl_pipeline.runtime import BUDGET_SHARE
from hl_pipeline.sandbox.process import SandboxProcess
from hl_pipeline.source.rest import HyperliquidRest
from hl_pipeline.storage.budget import PostgresBudget
from hl_pipeline.storage.embedded import EmbeddedPostgres
from hl_pipeline.storage.engine import Database
from hl_pipeline.storage.migrations import migrate
from hl_pipeline.storage.series import violations

MOST_TIMES_IDEAL = 1.15
SPENT = "select sum(weight), count(*), sum(refused) from hl.fetch where request_type = 'candleSnapshot'"


def main() -> int:
    """Run both processes, check, print one line."""
    if len(sys.argv) > 1:
        exchange_url, database_url, coins = sys.argv[1:]
        return work(exchange_url, database_url, coins.split(","))
    home = Path(tempfile.mkdtemp(prefix="hl-bench-"))
    sandbox_arguments = (
        "--manual-clock-ms", str(NOW_MS), "--history-days", str(HISTORY_DAYS), "--limiter", "sliding",
        "--instant", "--quiet-mode", "dense", "--prewarm", ",".join(COINS),
    )  # fmt: skip
    try:
        with SandboxProcess(*sandbox_arguments) as sandbox, EmbeddedPostgres(home) as server:
            url = server.dsn("postgres")
            migrate(url)
            with Database(url) as database:
                _prepare(sandbox.url, database)
                # the preparation's own weight is refilled before the clock starts
                time.sleep(60)
                seconds = _race(sandbox.url, url)
                return _verdict(database, seconds)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def work(exchange_url: str, database_url: str, coins: list[str]) -> int:
    """One of the two processes: everything that is due of its coins."""
    with (
        Database(database_url, max_connections=8) as database,
        HyperliquidRest(exchange_url, budget=_budget(database)) as source,
    ):
        report = fill(source, database, ManualClock(NOW_MS), FillPolicy(concurrency=3), coins=coins)
    print(f"{report.landed} of {report.planned} requests landed", *report.failures, sep="\n", file=sys.stderr)
    return int(report.landed != report.planned)


def _budget(database: Database) -> PostgresBudget:
    return PostgresBudget(database, key="bench", max_weight=int(EXCHANGE_WEIGHT_PER_MINUTE * BUDGET_SHARE))


def _prepare(exchange_url: str, database: Database) -> None:
    budget = _budget(database)
    budget.ensure()
    with HyperliquidRest(exchange_url, budget=budget) as source:
        refresh_markets(source, database, ManualClock(NOW_MS), coins=COINS, intervals=tuple(Interval))


def _race(exchange_url: str, database_url: str) -> float:
    started = time.perf_counter()
    halves = (COINS[::2], COINS[1::2])
    command = [sys.executable, "-m", "benchmarks.two_processes", exchange_url, database_url]
    # this interpreter and our own module
    workers = [subprocess.Popen([*command, ",".join(half)]) for half in halves]
    codes = [worker.wait() for worker in workers]
    if any(codes):
        raise SystemExit(f"a process ended with {codes}: the figure means nothing")
    return time.perf_counter() - started


def _verdict(database: Database, seconds: float) -> int:
    with database.connection() as connection:
        assert violations(connection) == [], "the ledger does not hold: the figures mean nothing"
        ((weight, requests, refused),) = connection.execute(SPENT)
    ideal = 60 * (math.ceil(weight / EXCHANGE_WEIGHT_PER_MINUTE) - 1)
    print(
        f"W1 by two processes, {os.cpu_count()} cores: {requests} requests, weight {weight:,} in {seconds:.0f} s; "
        f"ideal {ideal:.0f} s, {seconds / ideal:.3f} times that (at most {MOST_TIMES_IDEAL}); {refused} answers of 429"
    )
    return int(seconds > MOST_TIMES_IDEAL * ideal or refused > 0)


if __name__ == "__main__":
    sys.exit(main())
