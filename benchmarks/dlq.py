"""``python -m benchmarks.dlq``: windows a minute that the workers get through, dead letters all of them.

Dead slots are never asked for together, so each window is a request, a landing, a revision of the ledger and a
resolution of its own. Then once more with one market in twenty that only sends HTML. The sandbox limits nothing and
runs in a process of its own. The contract is 100 windows a minute.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import ours
from benchmarks.workload import COINS, Workload, served
from hl_pipeline.cli.demo.switchboard import Switchboard
from hl_pipeline.collect.dead_letters import retry_and_drain
from hl_pipeline.collect.fill import FillPolicy, fill
from hl_pipeline.model.dead_letter import FailureKind, Outcome
from hl_pipeline.model.interval import Interval
from hl_pipeline.model.span import Span, SpanSet
from hl_pipeline.storage import dead_letters, series
from hl_pipeline.storage.embedded import EmbeddedPostgres
from hl_pipeline.storage.engine import Connection

CONTRACT = 100
WINDOWS_A_COIN = 20
WINDOW_SLOTS, APART_SLOTS = 10, 200
POISONED = COINS[-1]
MINUTE_MS = 60_000
#: Takes settled slots back, as if they had never been read.
UNSETTLE = """
with gone as (
    delete from hl.candle
    where series_id = %(series)s and %(slots)s::tstzmultirange @> open_time
),
opened as (
    update hl.coverage set final = final - %(slots)s::tstzmultirange where series_id = %(series)s
)
insert into hl.gap (series_id, slots, reason, attempts, next_try, deadline)
select %(series)s, span, 'failed', 1, lower(span), lower(span) + interval '5000 minutes'
from unnest(%(slots)s::tstzmultirange) as span
"""
IMPATIENT = "update hl.failure_kind set max_attempts = 1, lasting = '0'"


@dataclass(frozen=True, slots=True)
class Measured:
    """One retry of everything."""

    windows: int
    healed: int
    seconds: float

    @property
    def a_minute(self) -> float:
        """Windows a minute, those that fail again among them."""
        return 60 * self.windows / self.seconds


def main() -> None:
    """Run, check, print."""
    home = Path(tempfile.mkdtemp(prefix="hl-bench-"))
    try:
        with served() as workload, EmbeddedPostgres(home) as server:
            well, poisoned = _measure(workload, server.dsn("postgres"))
    finally:
        shutil.rmtree(home, ignore_errors=True)
    assert well.healed == well.windows, "not every letter was healed: the figure means nothing"
    assert poisoned.healed == poisoned.windows - WINDOWS_A_COIN, "the poisoned market held up others"
    print(
        f"Dead letters on {datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores: {well.windows} windows retried and "
        f"healed in {well.seconds:.1f} s, {well.a_minute:,.0f} a minute; with {WINDOWS_A_COIN} poisoned ones among "
        f"them {poisoned.a_minute:,.0f} a minute (contract {CONTRACT})."
    )
    assert min(well.a_minute, poisoned.a_minute) >= CONTRACT, "slower than the contract"


def _measure(workload: Workload, database_url: str) -> tuple[Measured, Measured]:
    with ours.opened(workload, database_url) as pipeline:
        fill(pipeline.source, pipeline.database, pipeline.clock, FillPolicy(), intervals=[Interval.M1])
        switchboard = Switchboard(workload.url)
        found = []
        for fault in (None, {"kind": "html", "coin": POISONED}):
            with pipeline.database.connection() as connection:
                _bury(connection, pipeline.clock.now_ms())
            pipeline.clock.advance(1)
            if fault is not None:
                switchboard.add_faults(fault)
            found.append(_retry(pipeline))
        switchboard.tell_the_truth()
    return found[0], found[1]


def _retry(pipeline: ours.Ours) -> Measured:
    started = time.perf_counter()
    report = retry_and_drain(pipeline.source, pipeline.database, pipeline.clock, FillPolicy())
    seconds = time.perf_counter() - started
    with pipeline.database.connection() as connection:
        assert dead_letters.violations(connection) == [] == series.violations(connection)
    return Measured(len(report.letters), report.count(Outcome.HEALED), seconds)


def _bury(connection: Connection, now_ms: int) -> None:
    """Make windows all over each 1m series dead letters."""
    connection.execute(IMPATIENT)
    for state in series.load(connection, intervals=[Interval.M1]):
        first = Interval.M1.floor(now_ms) - (WINDOWS_A_COIN + 1) * APART_SLOTS * MINUTE_MS
        starts = [first + number * APART_SLOTS * MINUTE_MS for number in range(WINDOWS_A_COIN)]
        windows = SpanSet.of(Span(start, start + WINDOW_SLOTS * MINUTE_MS) for start in starts)
        series.lock(connection, state.series_id)
        connection.execute(UNSETTLE.encode(), {"series": state.series_id, "slots": series.multirange(windows)})
        row = connection.execute("select max(fetch_id) from hl.fetch").fetchone()
        assert row is not None
        for window in windows:
            dead_letters.record(
                connection,
                state.series_id,
                SpanSet((window,)),
                FailureKind.BAD_ANSWER,
                failed_ms=now_ms,
                error="made for the benchmark",
                request={},
                fetch_id=row[0],
            )


if __name__ == "__main__":
    main()
