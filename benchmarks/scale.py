"""``python -m benchmarks.scale``: what the database's part costs at 6, 50 and 200 markets and 1, 6 and 12 months.

A year of 1m candles (and the larger ones) of all markets is made once, a month at a time; then each step is timed with
the first 6, 50, 200 of them tracked. Medians of one run on one server. Ends with 1 when a step's processor time grows
faster than the markets, or when what a live tick asks of the ledger grows with the rows.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from benchmarks.scale_cost import Cost, Meter
from benchmarks.scale_history import History
from benchmarks.scale_steps import Steps
from hl_pipeline.storage.embedded import EmbeddedPostgres
from hl_pipeline.storage.engine import Database
from hl_pipeline.storage.migrations import migrate

#: How far a ratio may lie above the ideal: neighbours on the machine, caches, a plan that changes once.
TOLERANCE = 1.5
#: Costs that differ by less prove nothing.
NOISE_S = 0.010
#: Steps whose cost must not depend on how many rows are stored.
LEDGER_STEPS = ("plan the live edge", "open gaps", "land a tick of one series")
#: For loading: what is written can be made again, and the benchmark does its own vacuuming.
SERVER_SETTINGS = (
    "alter system set wal_level = minimal",
    "alter system set max_wal_senders = 0",
    "alter system set autovacuum = off",
)
ROWS = "select coalesce(sum(reltuples), 0)::bigint from pg_class where relname like 'candle\\_20%' and relkind = 'r'"

Cell = tuple[int, int]  # markets, months
Costs = dict[str, dict[Cell, Cost]]


@dataclass(frozen=True, slots=True)
class Options:
    """What to measure: ``seconds`` bounds the repetitions of one step, ``minutes`` the making of months."""

    markets: tuple[int, ...]
    months: tuple[int, ...]
    runs: int
    seconds: float
    minutes: float


@dataclass(frozen=True, slots=True)
class Broken:
    """A bound that does not hold."""

    step: str
    sentence: str


def main() -> None:
    """Build, measure, print, judge."""
    options, folder = _arguments()
    home = Path(tempfile.mkdtemp(prefix="hl-scale-", dir=folder))
    started = time.perf_counter()
    try:
        with EmbeddedPostgres(home) as server, psycopg.connect(server.dsn(), autocommit=True) as connection:
            for setting in SERVER_SETTINGS:
                connection.execute(setting)
        with EmbeddedPostgres(home) as server:
            migrate(server.dsn())
            with Database(server.dsn(), statement_timeout_ms=0) as database:
                costs, rows = _measure(database, Meter(server.pid), options)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    options = replace(options, months=tuple(rows))
    broken = judge(costs, options)
    print(_table(costs, rows, options, time.perf_counter() - started))
    for found in broken:
        print(f"{found.step}: {found.sentence}")
    sys.exit(1 if broken else 0)


def judge(costs: Costs, options: Options) -> list[Broken]:
    """Every step that grows faster than the markets, and every ledger step that grows with the months."""
    broken: list[Broken] = []
    for step, cells in costs.items():
        measured = {cell: cost.cpu for cell, cost in cells.items()}
        for months in options.months:
            for small, large in _pairs(options.markets):
                bound = large / small * TOLERANCE
                if _exceeds(measured[large, months], measured[small, months], bound):
                    ratio = measured[large, months] / measured[small, months]
                    broken.append(Broken(step, f"{large} markets take {ratio:.1f} x {small} (bound {bound:.1f})"))
        for markets in options.markets if step in LEDGER_STEPS else ():
            first, last = options.months[0], options.months[-1]
            if _exceeds(measured[markets, last], measured[markets, first], TOLERANCE):
                ratio = measured[markets, last] / measured[markets, first]
                broken.append(Broken(step, f"month {last} takes {ratio:.1f} x month {first} (bound {TOLERANCE})"))
    return broken


def _arguments() -> tuple[Options, Path | None]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--markets", default="6,50,200", help="how many are tracked; the last is how many are made")
    parser.add_argument("--months", default="1,6,12", help="after how many months to measure")
    parser.add_argument("--runs", type=int, default=5, help="repetitions of each step")
    parser.add_argument("--seconds", type=float, default=20.0, help="stop repeating a step after so long")
    parser.add_argument("--minutes", type=float, default=240.0, help="after so long begin no further month; measure")
    parser.add_argument("--folder", type=Path, default=None, help="where there is room: 20 GB for the full size")
    given = parser.parse_args()
    markets, months = (tuple(sorted(map(int, text.split(",")))) for text in (given.markets, given.months))
    return Options(markets, months, given.runs, given.seconds, given.minutes), given.folder


def _measure(database: Database, meter: Meter, options: Options) -> tuple[Costs, dict[int, int]]:
    costs: Costs = {}
    rows: dict[int, int] = {}
    history = History(database, options.markets[-1])
    history.begin()
    began = time.perf_counter()
    for months in range(1, options.months[-1] + 1):
        started = time.perf_counter()
        history.add_month()
        _say(f"month {months} made in {time.perf_counter() - started:.0f} s")
        is_last = time.perf_counter() - began > options.minutes * 60
        if months in options.months or is_last:
            history.settle_statistics()
            rows[months] = _rows(database)
            for markets in options.markets:
                _stage(history, markets, meter, options, costs)
        if is_last:
            break
    return costs, rows


def _stage(history: History, markets: int, meter: Meter, options: Options, costs: Costs) -> None:
    """Measure every step with so many markets tracked."""
    history.track(markets)
    coins = [f"M{number:04}" for number in range(1, markets + 1)]
    steps = Steps(history.database, coins, history.edge_ms)
    steps.prepare_landings(options.runs + 1)
    for name, step in steps.all().items():
        found = _repeated(meter, step, options)
        median = Cost(*(statistics.median(figures) for figures in zip(*found, strict=True)))
        costs.setdefault(name, {})[markets, history.months] = median
        told = " ".join(f"{cost.wall * 1000:.1f} ({cost.cpu * 1000:.1f})" for cost in found)
        _say(f"month {history.months}, {markets} markets, {name}: {told} ms")
    history.restore_edge()


def _repeated(meter: Meter, step: Callable[[], None], options: Options) -> list[Cost]:
    """The cost of each run; one before them warms the caches, unless it took all the time there is."""
    warming = meter.measure(step)
    if warming.wall > options.seconds:
        return [warming]
    found = [meter.measure(step)]
    while len(found) < options.runs and sum(cost.wall for cost in found) < options.seconds:
        found.append(meter.measure(step))
    return found


def _rows(database: Database) -> int:
    with database.connection() as connection:
        row = connection.execute(ROWS).fetchone()
    return 0 if row is None else int(row[0])


def _pairs(values: Sequence[int]) -> list[tuple[int, int]]:
    """Neighbours, and the first with the last."""
    pairs = list(itertools.pairwise(values))
    return pairs if len(values) < 3 else [*pairs, (values[0], values[-1])]


def _exceeds(large: float, small: float, bound: float) -> bool:
    return large > small * bound and large - small * bound > NOISE_S


def _table(costs: Costs, rows: dict[int, int], options: Options, took: float) -> str:
    """The figures in ms, then how they grow."""
    cells = [(markets, months) for months in options.months for markets in options.markets]
    few, many = options.markets[0], options.markets[-1]
    first, last = options.months[0], options.months[-1]
    stored = ", ".join(f"{count / 1e6:.1f} million rows after {months} months" for months, count in rows.items())
    lines = [
        f"Scale on {datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores: {many} markets made, {stored}; "
        f"{took / 60:.0f} minutes.",
        f"Medians of up to {options.runs} runs: ms of processor time (on the clock); markets tracked x months stored. "
        f"Growth is in processor time: {many} : {few} markets is {many / few:.1f}.",
        "",
        "| step | " + " | ".join(f"{markets} x {months}" for markets, months in cells) + " |"
        f" {many} : {few} markets | {last} : {first} months |",
        "|---|" + "---|" * (len(cells) + 2),
    ]
    for step, measured in costs.items():
        figures = " | ".join(f"{measured[cell].cpu * 1000:,.1f} ({measured[cell].wall * 1000:,.1f})" for cell in cells)
        by_markets = measured[many, last].cpu / measured[few, last].cpu
        by_months = measured[many, last].cpu / measured[many, first].cpu
        lines.append(f"| {step} | {figures} | {by_markets:.1f} | {by_months:.2f} |")
    return "\n".join(lines)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
