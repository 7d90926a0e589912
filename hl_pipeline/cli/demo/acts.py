"""The three acts: a first collection, trouble, healing. Each says what it does, does it, and shows what came of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console

from hl_pipeline.cli.demo.stage import COINS, HEALING_TAKES_MS, NEGLECT_LASTS_MS, TROUBLE_LASTS_MS, Stage
from hl_pipeline.cli.demo.verdict import Promise
from hl_pipeline.cli.screen import progress
from hl_pipeline.model.failure import TryAgain
from hl_pipeline.model.interval import MINUTE_MS, Interval, to_datetime
from hl_pipeline.storage import series
from hl_pipeline.storage.overview import volumes_shown

if TYPE_CHECKING:
    from hl_pipeline.defs.launch import RunOutcome

COLLECT, MARKETS, CHECKS, CONTRACTS = "collect", "refresh_markets", "health", "contracts"
COVERAGE_CHECK = "coverage_complete"
#: Judges how fast the exchange answers, which on a busy machine is not what is shown here.
LATENCY_CHECK = "api_answers"
#: Of Dagster and of this machine, which run on real time, and of the trust that revisions cost: no part of the play.
NOT_THE_EXCHANGE = (
    "daemon_alive", "runs_finish", "automation_on", "disk_has_room", "memory_bounded", "alerts_delivered",
    "data_trusted",
)  # fmt: skip
LATE_SLOTS = 10
REFUSALS = 4
LATE_COIN, REVISED_COIN = "BTC", "ETH"
_ROWS_KEYS = ("rows received",)
_WEIGHT_KEY = "weight spent"
_POLL_SECONDS = 0.3


@dataclass(slots=True)
class Play:
    """The play so far. ``rows`` counts candle rows that the runs say they stored or rejected."""

    stage: Stage
    screen: Console
    rows: int = 0
    late_ms: tuple[int, ...] = ()
    revised_ms: int = 0
    failed_checks: set[str] = field(default_factory=set)
    healed: list[Promise] = field(default_factory=list)

    def first_collection(self) -> None:
        """Act one: everything the exchange still has, six markets at six intervals."""
        self._title("1", "First collection: everything the exchange still has")
        _require(self.stage.run(MARKETS))
        metadata = self._collect(requests=len(COINS) * len(Interval))
        self._say(
            f"{metadata['rows received']:,} candles received in {metadata['requests']} requests "
            f"for {metadata[_WEIGHT_KEY]:,} of request weight."
        )
        if not metadata["rows received"]:
            self._say("Nothing was due: an earlier run had settled every slot up to this minute.")

    def trouble(self) -> None:
        """Act two: the exchange misbehaves in three ways, and the pipeline must notice."""
        self._title("2", "The exchange misbehaves; does the pipeline notice?")
        self._arrange()
        metadata = self._collect()
        self._say(f"Collected: {metadata['rows received']:,} candles in {metadata['requests']} requests.")
        self._look_at_gap()
        shown = self._volumes()
        self._say(f"The {REVISED_COIN} candle is stored as it was shown: volume {shown[-1] if shown else 'none'}.")
        self._count_refusals(str(metadata["failures"]))

    def neglect(self) -> None:
        """Still act two: nobody collects for a while; the checks must say that slots are overdue."""
        self.stage.move_to(self.stage.clock.now_ms() + NEGLECT_LASTS_MS)
        self._say(f"Now nobody collects for {NEGLECT_LASTS_MS // MINUTE_MS} minutes. What do the asset checks say?")
        self.failed_checks = self._failed_checks()
        overdue = COVERAGE_CHECK in self.failed_checks
        verdict = "failed, as it must" if overdue else "did not fail"
        self._hold("P4", "a check says what is overdue", overdue, f"{COVERAGE_CHECK} {verdict}")

    def healing(self) -> None:
        """Act three: the exchange tells the truth, ten minutes later."""
        self._title("3", "Ten minutes later the exchange tells the truth; does the pipeline heal?")
        self.stage.exchange.tell_the_truth()
        self.stage.move_to(self.stage.clock.now_ms() + HEALING_TAKES_MS - NEGLECT_LASTS_MS)
        metadata = self._collect()
        self._say(
            f"Collected: {metadata['rows received']:,} candles in {metadata['requests']} requests, "
            f"{metadata['revisions']} revised."
        )
        left = len(self._late_in_gap())
        self._hold("P4", "a late gap closes by itself", left == 0, f"{LATE_SLOTS - left} of {LATE_SLOTS} slots filled")
        shown = self._volumes()
        self._hold(
            "P3",
            "a revised candle keeps its old value beside the new",
            len(shown) == 2 and shown[0] != shown[1],
            f"volume {' -> '.join(shown)}",
        )
        still = self._failed_checks()
        for name in sorted(self.failed_checks - still):
            self.screen.print(f"     [green]passed[/green]  {name}")
        beside = still & {LATENCY_CHECK, *NOT_THE_EXCHANGE}
        evidence = f"all of the data pass, {COVERAGE_CHECK} among them"
        if beside:
            evidence += f"; of this machine, where nothing else runs yet: {', '.join(sorted(beside))}"
        if still - beside:
            evidence = f"still failing: {', '.join(sorted(still))}"
        self._hold("P4", "the checks pass once the slots are there", not still - beside, evidence)
        self._examine()

    def _arrange(self) -> None:
        stage = self.stage
        first = Interval.M1.ceil(stage.clock.now_ms())
        self.late_ms = tuple(first + n * MINUTE_MS for n in range(LATE_SLOTS))
        self.revised_ms = first + 4 * MINUTE_MS
        stage.move_to(stage.clock.now_ms() + TROUBLE_LASTS_MS)
        stage.exchange.add_faults(
            {"kind": "late", "coin": LATE_COIN, "interval": "1m", "opens_ms": self.late_ms},
            {"kind": "revised", "coin": REVISED_COIN, "interval": "1m", "opens_ms": [self.revised_ms]},
            {"kind": "429", "request": "candleSnapshot", "times": REFUSALS},
        )
        self._say(f"{TROUBLE_LASTS_MS // MINUTE_MS} minutes of market time pass. The exchange")
        self._say(f"  - holds back {LATE_SLOTS} one-minute candles of {LATE_COIN}, from {_clock(first)} UTC,")
        self._say(f"  - shows the {REVISED_COIN} candle of {_clock(self.revised_ms)} UTC with half its volume,")
        self._say(f"  - answers {REFUSALS} requests with 429, too many requests.")

    def _collect(self, requests: int | None = None) -> dict[str, Any]:
        with self._bar(requests):
            outcome = self.stage.run(COLLECT)
        _require(outcome)
        metadata: dict[str, Any] = outcome.assets["live_candles"]
        self.rows += sum(metadata[key] for key in _ROWS_KEYS)
        return metadata

    def _look_at_gap(self) -> None:
        missing = self._late_in_gap()
        reasons = {reason for _, reason in missing}
        self._hold(
            "P4",
            "a hole in the answer is a known gap",
            len(missing) == LATE_SLOTS,
            f"{len(missing)} of {LATE_SLOTS} slots in the gap table ({', '.join(sorted(reasons)) or 'none'})",
        )

    def _late_in_gap(self) -> list[tuple[int, str]]:
        """The held-back slots that the ledger knows as missing, with the reason it gives."""
        with self.stage.ground.database.connection() as connection:
            (state,) = series.load(connection, coins=[LATE_COIN], intervals=[Interval.M1])
        return [
            (open_ms, str(gap.reason))
            for open_ms in self.late_ms
            for gap in state.gaps
            if gap.span.start_ms <= open_ms < gap.span.end_ms
        ]

    def _volumes(self) -> list[str]:
        with self.stage.ground.database.connection() as connection:
            return volumes_shown(connection, REVISED_COIN, Interval.M1, self.revised_ms)

    def _count_refusals(self, failures: str) -> None:
        met = sum(entry.status == 429 for entry in self.stage.exchange.asked())
        self._hold(
            "P5",
            "a 429 is waited out and asked again",
            met == REFUSALS and failures == "none",
            f"{met} of {REFUSALS} met; requests given up: {failures}",
        )

    def _failed_checks(self) -> set[str]:
        """Evaluate every check, show those that fail, return their names without their asset's."""
        outcome = self.stage.run(CHECKS)
        failed = [check for check in outcome.checks if not check.passed]
        self._say(f"{len(outcome.checks)} checks evaluated, {len(failed)} failed.")
        for check in failed:
            self.screen.print(
                f"     [red]failed[/red]  {_name(check.name)}: {check.description.split('. Next:')[0].strip()}"
            )
        return {_name(check.name) for check in failed}

    def _examine(self) -> None:
        """The thorough checks: the ledger against every candle, the Great Expectations suites over rows and metrics."""
        outcome = self.stage.run(CONTRACTS)
        _require(outcome)
        told = [f"{_name(check.name)}: {check.description.split('. Next:')[0]}" for check in outcome.checks]
        for line in told:
            self._say(line)
        passed = sum(check.passed for check in outcome.checks)
        self._hold("P7", "what is stored keeps its contract", passed == len(told) > 0, f"{passed} of {len(told)} pass")

    def _hold(self, number: str, text: str, held: bool, evidence: str) -> None:
        self.healed.append(Promise(number, text, held, evidence))
        mark = "[green]yes[/green]" if held else "[red]NO[/red]"
        self.screen.print(f"   {text}: {mark} - {evidence}")

    def _title(self, number: str, text: str) -> None:
        self.screen.print(f"\n[bold]{number}  {text}[/bold]")

    def _say(self, text: str) -> None:
        self.screen.print(f"   {text}", markup=False)

    @contextmanager
    def _bar(self, requests: int | None) -> Iterator[None]:
        """A bar that follows the exchange's log, for the run reports to Dagster; without an end if nobody knows it."""
        known = self.stage.exchange.asked()
        done = threading.Event()
        with progress(self.screen) as bar:
            task = bar.add_task("asking the exchange", total=requests, note="")

            def follow() -> None:
                seen, rows, answered = len(known), 0, 0
                over = False
                while not over:
                    over = done.wait(_POLL_SECONDS)  # and once more when it is over
                    try:
                        fresh = self.stage.exchange.asked(seen)
                    except TryAgain:
                        continue
                    seen += len(fresh)
                    candles = [entry for entry in fresh if entry.request == "candleSnapshot" and entry.status == 200]
                    answered += len(candles)
                    rows += sum(entry.rows for entry in candles)
                    bar.update(task, completed=answered, note=f"{rows:,} candles")

            follower = threading.Thread(target=follow, name="progress", daemon=True)
            follower.start()
            try:
                yield
            finally:
                done.set()
                follower.join()


def _name(check: str) -> str:
    return check.rsplit("/", 1)[-1]


def _require(outcome: RunOutcome) -> None:
    if outcome.failure is not None and "Interrupted" in outcome.failure:
        raise KeyboardInterrupt  # Dagster turned it into a failed step, which is right for its log and not for ours
    if not outcome.success:
        raise TryAgain(f"run {outcome.run_id} failed: {outcome.failure}; run the demo again")


def _clock(at_ms: int) -> str:
    at: datetime = to_datetime(at_ms)
    return f"{at:%H:%M}"
