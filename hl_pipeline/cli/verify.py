"""``hl verify``: the ledger against the candles, slot by slot, and the content of the tables as a hash each."""

from __future__ import annotations

from dataclasses import dataclass

import click

from hl_pipeline.cli.screen import console, print_json, table
from hl_pipeline.cli.status import coverage_table, headline, headline_document, interval_document
from hl_pipeline.examine import PATIENT_S, examine
from hl_pipeline.health.report import Report
from hl_pipeline.runtime import open_pipeline
from hl_pipeline.settings import Settings
from hl_pipeline.storage import coverage, series
from hl_pipeline.storage.coverage import IntervalCoverage
from hl_pipeline.storage.overview import TableContent, content_hashes

#: Broken slots shown; the rest are counted.
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Proof:
    """What was found, in one snapshot of the database, at market time ``now_ms``."""

    now_ms: int
    intervals: list[IntervalCoverage]
    violations: list[tuple[int, str, str]]
    contents: list[TableContent]
    health: Report


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@click.pass_context
def verify(ctx: click.Context, as_json: bool) -> None:
    """Prove the coverage ledger against the stored candles.

    Every expected slot must be exactly one of final, empty, lost or part of
    a gap, and the final slots must be the final candle rows. Exit 1 when
    that does not hold; gaps alone are no violation, for they are known. The
    hashes tell whether two databases hold the same candles.
    """
    proof = prove(Settings.load())
    if as_json:
        print_json(_document(proof))
    else:
        _show(proof)
    ctx.exit(1 if proof.violations else 0)


def prove(settings: Settings) -> Proof:
    """Read everything in one transaction.

    Raises:
        DatabaseUnavailable: it is not running.
        SchemaMismatch: it must be migrated first.
    """
    with open_pipeline(settings, only_looks=True) as pipeline:
        now_ms = pipeline.clock.now_ms()
        with pipeline.database.connection() as connection:
            intervals = coverage.by_interval(connection, now_ms, pipeline.policy.proof.settle_ms)
            violations, contents = series.violations(connection), content_hashes(connection)
        settle_s = pipeline.policy.proof.settle_ms / 1000
        found = examine(
            settings, database=pipeline.database, clock=pipeline.clock, settle_s=settle_s, deadline_s=PATIENT_S
        )
        return Proof(now_ms, intervals, violations, contents, found)


def _document(proof: Proof) -> dict[str, object]:
    return {
        "holds": not proof.violations,
        "violations": [{"series_id": number, "rule": rule, "slots": slots} for number, rule, slots in proof.violations],
        "intervals": [interval_document(row) for row in proof.intervals],
        "health": headline_document(proof.health),
        "tables": [content._asdict() for content in proof.contents],
    }


def _show(proof: Proof) -> None:
    screen = console()
    screen.print(coverage_table(proof.intervals, proof.now_ms))
    screen.print()
    screen.print(f"Health: {headline(proof.health)}\n", markup=False)
    screen.print(table([("table", "left"), ("rows", "right"), ("content hash", "left")], proof.contents))
    screen.print()
    if not proof.violations:
        screen.print(
            "The ledger holds: every expected slot is final, empty, lost or a known gap, and only one of them."
        )
        return
    for number, rule, slots in proof.violations[:_SHOWN]:
        screen.print(f"series {number}: {rule}: {slots}", markup=False)
    if len(proof.violations) > _SHOWN:
        screen.print(f"and {len(proof.violations) - _SHOWN} more (--json lists all)")
    screen.print(
        f"The ledger does not hold: {len(proof.violations)} violations. Keep the database as it is and report it."
    )
