"""What is stored against what was true, and one line a promise: held or not, with the number that says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from hl_pipeline.cli.demo.stage import COINS, SEED, Stage
from hl_pipeline.cli.demo.switchboard import Asked, most_weight_in_a_minute
from hl_pipeline.model.candle import Candle
from hl_pipeline.model.interval import Interval
from hl_pipeline.sandbox.catalogue import markets_named
from hl_pipeline.sandbox.truth import Truth
from hl_pipeline.storage import coverage, series
from hl_pipeline.storage.coverage import IntervalCoverage
from hl_pipeline.storage.overview import final_candles

Slots = dict[tuple[str, Interval], set[int]]


class Promise(NamedTuple):
    """One promise of the README, and what this run showed of it."""

    number: str
    text: str
    held: bool
    evidence: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """Every final candle beside the sandbox's truth.

    ``noisy`` ones of the ``equal`` are derived: their volume is the exact sum of their minutes, and the exchange's own
    string carries float noise, under 1e-9 of it (design section 6, Derived candles).
    """

    slots: Slots
    equal: int
    noisy: int
    different: list[str]

    @property
    def total(self) -> int:
        """How many final candles were compared."""
        return self.equal + len(self.different)


def held_slots(stage: Stage) -> Slots:
    """Which slots are final now."""
    with stage.ground.database.connection() as connection:
        return {
            (coin, interval): {candle.open_ms for candle in final_candles(connection, coin, interval)}
            for coin in COINS
            for interval in Interval
        }


def compare(stage: Stage) -> Comparison:
    """Read every final candle and recompute what it should be from the seed alone."""
    truth = Truth(SEED, markets_named(*COINS))
    slots: Slots = {}
    equal, noisy, different = 0, 0, list[str]()
    for coin in COINS:
        for interval in Interval:
            with stage.ground.database.connection() as connection:
                stored = final_candles(connection, coin, interval)
            slots[coin, interval] = {candle.open_ms for candle in stored}
            if len(slots[coin, interval]) != len(stored):
                different.append(f"{coin} {interval} holds a slot twice")
            if not stored:
                continue
            ends = stored[-1].open_ms + interval.milliseconds
            right = {candle.open_ms: candle for candle in truth.candles(coin, interval, stored[0].open_ms, ends)}
            unlike = [candle for candle in stored if right.get(candle.open_ms) != candle]
            wrong = [candle for candle in unlike if not _is_noise(interval, candle, right.get(candle.open_ms))]
            different += [f"{coin} {interval} at {candle.open_ms}" for candle in wrong]
            equal += len(stored) - len(wrong)
            noisy += len(unlike) - len(wrong)
    return Comparison(slots, equal, noisy, different)


def _is_noise(interval: Interval, stored: Candle, right: Candle | None) -> bool:
    """Whether a larger candle differs from the truth by its volume's float noise alone."""
    if interval is Interval.M1 or right is None or stored._replace(volume=right.volume) != right:
        return False
    ours, theirs = Decimal(stored.volume), Decimal(right.volume)
    return abs(ours - theirs) <= Decimal("1e-9") * max(ours, theirs)


def judge(
    stage: Stage, before: Slots, found: Comparison, accounted: int, healed: Sequence[Promise]
) -> tuple[list[Promise], list[IntervalCoverage]]:
    """The promises that a demo can show. ``before`` is what was final after the first act; ``accounted`` counts rows
    that the runs say they stored or rejected; ``healed`` is what the acts found out about their faults."""
    with stage.ground.database.connection() as connection:
        broken = series.violations(connection)
        held = coverage.by_interval(connection, stage.clock.now_ms(), stage.pipeline.policy.proof.settle_ms)
    asked = stage.exchange.asked()
    lost = sum(len(slots - found.slots.get(key, set())) for key, slots in before.items())
    twice = [line for line in found.different if line.endswith("twice")]
    gaps = sum(row.gap for row in held)
    sent = sum(entry.rows for entry in asked if entry.request == "candleSnapshot" and entry.status == 200)
    return [
        Promise("P1", "no acknowledged candle is lost", not lost, f"{lost} of {_count(before):,} lost"),
        Promise("P2", "one row per coin, interval and open time", not twice, f"{len(twice)} series with a slot twice"),
        Promise(
            "P3", "a final candle equals the exchange's truth", not found.different and found.total > 0,
            f"{found.equal:,} of {found.total:,} equal to the last digit"
            + (f", {found.noisy} but for float noise in the exchange's volume" if found.noisy else ""),
        ),
        *healed,
        Promise(
            "P4", "every expected slot is settled or a known gap", not broken,
            f"{len(broken)} contradictions in the ledger; slots that wait for their next try: {gaps:,}"
            if gaps else f"{len(broken)} contradictions in the ledger, no gap left",
        ),
        _budget(stage, asked),
        Promise(
            "P7", "rows received = rows stored + rejected", sent == accounted,
            f"{sent:,} sent by the exchange, {accounted:,} accounted for",
        ),
    ], held  # fmt: skip


def _budget(stage: Stage, asked: Sequence[Asked]) -> Promise:
    most = most_weight_in_a_minute(asked)
    limit = stage.settings.weight_per_minute
    refused = sum(entry.status == 429 and not entry.fault for entry in asked)
    return Promise(
        "P5",
        "request weight stays in the budget, in any 60 s",
        most <= limit and not refused,
        f"at most {most:,} of {limit:,}; the exchange refused {refused} requests of its own accord",
    )


def _count(slots: Slots) -> int:
    return sum(map(len, slots.values()))
