"""``python -m benchmarks.w1``: our core, the bare loop and ccxt over W1, in turn on one server; medians of five.

Absolute figures depend on the machine and what else it does; ratios of one run hold.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psycopg
from psycopg import sql

from benchmarks import bare, ccxt_to_sql, ours
from benchmarks.workload import Workload, ideal_weight, served
from hl_pipeline.model.candle import SeriesKey
from hl_pipeline.model.interval import Interval
from hl_pipeline.storage.embedded import EmbeddedPostgres, Server
from hl_pipeline.storage.series import violations

ROWS_BY_SERIES = "select coin, interval, count(*) from hl.candles group by coin, interval"
CANDLE_BYTES = """
select sum(pg_total_relation_size(inhrelid)) from pg_inherits where inhparent = 'hl.candle'::regclass
"""


@dataclass(slots=True)
class Measured:
    """One contender's runs."""

    seconds: list[float] = field(default_factory=list)
    rows: int = 0

    @property
    def median(self) -> float:
        """Median seconds."""
        return statistics.median(self.seconds)


@dataclass(slots=True)
class OursMeasured(Measured):
    """Our runs, with what only we can say."""

    weight: int = 0
    ideal: int = 0
    bytes_per_candle: float = 0.0
    rerun_seconds: list[float] = field(default_factory=list)
    rerun_weight: int = 0


def main() -> None:
    """Run, check, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--without-ccxt", action="store_true")
    options = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="hl-bench-"))
    try:
        with served() as workload, EmbeddedPostgres(home) as server:
            found = _measure(workload, server, options.runs, with_ccxt=not options.without_ccxt)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    print(_table(*found))


def _measure(
    workload: Workload, server: Server, runs: int, *, with_ccxt: bool
) -> tuple[OursMeasured, Measured, Measured]:
    we, loop, rival = OursMeasured(), Measured(), Measured()
    for number in range(runs + 1):  # the first round warms caches and is not counted
        counted = number > 0
        _ours(workload, _fresh(server, f"ours_{number}"), we, counted=counted)
        _timed(loop, lambda url: bare.run(workload, url), _fresh(server, f"bare_{number}"), counted=counted)
        if with_ccxt and counted:
            _timed(rival, lambda url: ccxt_to_sql.run(workload, url), _fresh(server, f"ccxt_{number}"), counted=True)
        _drop(server, f"ours_{number}", f"bare_{number}", f"ccxt_{number}")
    return we, loop, rival


def _timed(measured: Measured, run: Callable[[str], int], url: str, *, counted: bool) -> None:
    started = time.perf_counter()
    measured.rows = run(url)
    if counted:
        measured.seconds.append(time.perf_counter() - started)


def _ours(workload: Workload, url: str, measured: OursMeasured, *, counted: bool) -> None:
    with ours.opened(workload, url) as pipeline:
        started = time.perf_counter()
        report = pipeline.fill()
        first = time.perf_counter() - started
        started = time.perf_counter()
        again = pipeline.fill()
        second = time.perf_counter() - started
        with pipeline.database.connection() as connection:
            assert violations(connection) == [], "the ledger does not hold: the figures mean nothing"
            rows = {SeriesKey(c, Interval(i)): n for c, i, n in connection.execute(ROWS_BY_SERIES)}
            size = connection.execute(CANDLE_BYTES).fetchone()
    assert report.failures == []
    measured.rows, measured.weight, measured.ideal = report.inserted, report.weight, ideal_weight(rows)
    measured.rerun_weight = again.weight
    measured.bytes_per_candle = float(size[0]) / report.inserted if size else 0.0
    if counted:
        measured.seconds.append(first)
        measured.rerun_seconds.append(second)


def _fresh(server: Server, name: str) -> str:
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        connection.execute("checkpoint")
    return server.dsn(name)


def _drop(server: Server, *names: str) -> None:
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
        for name in names:
            connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))


def _table(we: OursMeasured, loop: Measured, rival: Measured) -> str:
    lines = [
        f"W1 on {datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores: {loop.rows:,} candles, "
        f"medians of {len(we.seconds)}, one run.",
        "",
        "| contender | seconds | candles/s | x bare loop | weight | weight / ideal |",
        "|---|---|---|---|---|---|",
        _row("hl_pipeline core (ledger, provenance, revisions, budget)", we, loop, we.weight, we.ideal),
        _row("bare loop (HTTP + COPY + upsert)", loop, loop, None, None),
    ]
    if rival.seconds:
        lines.append(_row("ccxt + DataFrame.to_sql", rival, loop, None, None))
    lines += [
        "",
        f"Bytes per candle, indexes included: {we.bytes_per_candle:.0f}. "
        f"Re-run with the exchange's clock unmoved: {statistics.median(we.rerun_seconds):.3f} s, "
        f"{we.rerun_weight} weight ({we.rerun_weight / we.weight:.1%} of the first run's).",
    ]
    return "\n".join(lines)


def _row(name: str, measured: Measured, loop: Measured, weight: int | None, ideal: int | None) -> str:
    spent = "" if weight is None else f"{weight:,}"
    share = "" if weight is None or ideal is None else f"{weight / ideal:.3f}"
    rate = measured.rows / measured.median
    ratio = measured.median / loop.median
    return f"| {name} | {measured.median:.2f} | {rate:,.0f} | {ratio:.2f} | {spent} | {share} |"


if __name__ == "__main__":
    main()
