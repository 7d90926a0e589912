"""``python -m benchmarks.confidence_validation``: does the confidence score say what is true? Exit 1 when it does not.

Twelve kinds of fault in ten sizes, each on a market of its own, beside clean markets, are injected into a local
exchange; a day of it is collected over HTTP and scored by the same queries as ever. Then the scores are held against
the exchange's truth. The report is printed and written to docs/confidence.md.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
import psycopg
from psycopg import sql

from benchmarks.confidence_day import Outcome, cases, run_day
from benchmarks.confidence_faults import STORIES, FaultStory
from hl_pipeline.derived.confidence import ALARM_BELOW
from hl_pipeline.storage.embedded import EmbeddedPostgres
from hl_pipeline.storage.engine import Database
from hl_pipeline.storage.migrations import migrate

REPORT = Path(__file__).resolve().parent.parent / "docs" / "confidence.md"
SHOWN = (0, 3, 6, 9)
CLEAN_AT_LEAST = 0.97
RHO_AT_MOST = -0.90
BLAMED_AT_LEAST = 0.95
CORRELATION_AT_LEAST = 0.85


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that must hold, the figure found, and whether it does."""

    claim: str
    figure: str
    holds: bool


def main() -> None:
    """Run, judge, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="days, each with seeds of its own from 1 on")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--report", type=Path, default=REPORT)
    options = parser.parse_args()
    seeds = range(1, options.seeds + 1)
    outcomes = simulate(seeds, options.processes)
    findings = judge(outcomes)
    text = report(outcomes, findings, seeds)
    print(text)
    options.report.write_text(text + "\n", encoding="utf-8")
    sys.exit(0 if all(finding.holds for finding in findings) else 1)


def simulate(seeds: Sequence[int], processes: int) -> list[Outcome]:
    """One day a seed, each in a database of its own."""
    home = Path(tempfile.mkdtemp(prefix="hl-confidence-"))
    try:
        with EmbeddedPostgres(home) as server:
            with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
                connection.execute("alter system set fsync = off")
                connection.execute("select pg_reload_conf()")
                for seed in seeds:
                    connection.execute(sql.SQL("create database {}").format(sql.Identifier(f"day_{seed}")))
            urls = [server.dsn(f"day_{seed}") for seed in seeds]
            context = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(processes, mp_context=context) as pool:
                return [outcome for day in pool.map(_day, urls, seeds) for outcome in day]
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _day(url: str, seed: int) -> list[Outcome]:
    migrate(url)
    with Database(url, max_connections=8) as database:
        return run_day(database, seed, cases(seed))


def judge(outcomes: Sequence[Outcome]) -> list[Finding]:
    """What must hold of the score."""
    clean = min(o.score for o in outcomes if o.story is None)
    spoilt = [o for o in outcomes if o.is_spoilt]
    rhos = {story.name: severity_rho(outcomes, story) for story in stories(outcomes)}
    flattest = max(rhos, key=lambda name: rhos[name])
    blamed = fmean(o.blamed for o in spoilt)
    fatal = max(o.score for o in spoilt if o.story is not None and o.story.fatal and o.case.severity == 9)
    found = correlation(outcomes)
    return [
        Finding(f"clean series score at least {CLEAN_AT_LEAST}", f"lowest {clean:.3f}", clean >= CLEAN_AT_LEAST),
        Finding(
            f"the larger the fault the lower the score: Spearman at most {RHO_AT_MOST} in each kind",
            f"flattest {rhos[flattest]:.3f} ({flattest})",
            rhos[flattest] <= RHO_AT_MOST,
        ),
        Finding(
            f"the spoilt component is blamed in at least {BLAMED_AT_LEAST:.0%}",
            f"{blamed:.1%} of {len(spoilt)}",
            blamed >= BLAMED_AT_LEAST,
        ),
        Finding(
            f"the largest fault of a gating kind scores below the alarm, {ALARM_BELOW}",
            f"highest {fatal:.3f}",
            fatal < ALARM_BELOW,
        ),
        Finding(
            f"1 - score ranks all series as their true error does: Spearman at least {CORRELATION_AT_LEAST}",
            f"{found:.3f} over {len(outcomes)} series",
            found >= CORRELATION_AT_LEAST,
        ),
    ]


def stories(outcomes: Sequence[Outcome]) -> list[FaultStory]:
    """The stories told, in the order of the list."""
    told = {o.story.name for o in outcomes if o.story is not None}
    return [story for story in STORIES if story.name in told]


def of(outcomes: Sequence[Outcome], story: FaultStory) -> list[Outcome]:
    """The series that the story spoils."""
    return [o for o in outcomes if o.is_spoilt and o.story is not None and o.story.name == story.name]


def severity_rho(outcomes: Sequence[Outcome], story: FaultStory) -> float:
    """Spearman of size and score, over all seeds."""
    spoilt = of(outcomes, story)
    return spearman([o.case.severity for o in spoilt], [o.score for o in spoilt])


def correlation(outcomes: Sequence[Outcome]) -> float:
    """Spearman of true error and doubt."""
    return spearman([o.error for o in outcomes], [1 - o.score for o in outcomes])


def spearman(xs: Sequence[float], ys: Sequence[float]) -> float:
    """Pearson's correlation of the ranks; ties share the mean of theirs. What never changes ranks nothing: 0."""
    if min(len(set(xs)), len(set(ys))) < 2:
        return 0.0
    return float(np.corrcoef(_ranks(xs), _ranks(ys))[0, 1])


def _ranks(values: Sequence[float]) -> np.ndarray:
    _, inverse, counts = np.unique(np.asarray(values, dtype=float), return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[inverse])


def report(outcomes: Sequence[Outcome], findings: Sequence[Finding], seeds: Sequence[int]) -> str:
    """The page docs/confidence.md."""
    spoilt = [o for o in outcomes if o.is_spoilt]
    without = [o.confidence.components["completeness"].score or 0.0 for o in outcomes]
    alone = spearman([o.error for o in outcomes], [1 - x for x in without])
    markets = len({o.case.coin for o in outcomes})
    return _PAGE.format(
        markets=markets,
        seeds=f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else str(seeds[0]),
        findings="\n".join(f"| {f.claim} | {f.figure} | {'yes' if f.holds else '**no**'} |" for f in findings),
        sizes=" | ".join(f"size {severity + 1}" for severity in SHOWN),
        rules="|---" * len(SHOWN),
        rows="\n".join(_row(outcomes, story) for story in stories(outcomes)),
        series=len(outcomes),
        alone=alone,
        spoilt=len(spoilt),
        spoilt_only=correlation(spoilt),
    )


def _row(outcomes: Sequence[Outcome], story: FaultStory) -> str:
    spoilt = of(outcomes, story)
    cells = [_cell([o for o in spoilt if o.case.severity == severity]) for severity in SHOWN]
    blamed = fmean(o.blamed for o in spoilt)
    sizes = f"{story.sizes[0]} to {story.sizes[-1]} {story.unit}"
    parts = [f"**{story.name}**: {story.told}", sizes, story.component, *cells]
    return f"| {' | '.join(parts)} | {severity_rho(outcomes, story):.2f} | {blamed:.0%} |"


def _cell(found: Sequence[Outcome]) -> str:
    return f"{fmean(o.score for o in found):.2f} ({fmean(o.error for o in found):.1%})" if found else "-"


_PAGE = """# Does the confidence score say what is true?

`make validate-confidence` made this page and fails when a claim does not hold.

| claim | found | holds |
|---|---|---|
{findings}

Mean score by kind and size of the fault, and in brackets the share of due slots whose stored candle is missing or
differs from the truth. *rho*: Spearman of size and score. *blamed*: how often `weakest` named the spoilt component.

| fault | sizes | component | {sizes} | rho | blamed |
|---|---|---{rules}|---|---|
{rows}

## How it was made

A local exchange has {markets} markets: ten clean ones, and one for each kind and size of fault. A day of it is
collected at 1m, 5m and 15m: a first read in the middle of the day, eleven more until its end, in simulated time.
Requests go over HTTP, answers through the usual landing, deriving and proving, scores out of the usual queries;
only the exchange's answers are spoilt. Then each stored candle of the last 24 hours is held against what it knows.
Seeds {seeds}: each draws the prices, the trades, and which slots are hit.

The rank correlation is over all {series} series, also those that a fault did not touch: whoever sorts series by score
must find the wrong ones first and none of the right ones among them. Completeness alone would reach {alone:.2f}.
Over the {spoilt} spoilt series only it is {spoilt_only:.2f}: there it compares kinds with each other, and the score is
meant to weigh them unlike. A head that is six minutes late costs as much as a tenth of the day missing; spikes and
a frozen feed are only suspicions and cost five percent at most; late corrections leave no wrong candle behind.

## What it does not show

- A market that never shows a minute without trades, read at one interval only, and whose exchange withholds minutes:
  they pass for empty, and nothing is left to compare with. With larger candles it is the kind *withheld*.
- Spikes and a frozen feed are collected at 1m alone here. With larger candles read from the exchange they do not
  add up either, which is told by agreement and costs much more.
- Candles that are wrong at every interval alike, and near the mark price.
- A wrong mark price makes right candles doubtful.
- Taking out a candle never raises the score of a series that agrees with its neighbours, by a property test. Taking
  out one that differs from them may: what differed can no longer be compared."""


if __name__ == "__main__":
    main()
