"""What a soak has to hold: nothing lost, twice or wrong, no limit broken, fresh at once and final in time."""

from __future__ import annotations

import statistics
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.soak_plan import Plan
from hl_pipeline.collect.stream import StreamPolicy
from hl_pipeline.model.candle import Candle
from hl_pipeline.model.clock import Clock
from hl_pipeline.model.failure import DatabaseUnavailable
from hl_pipeline.model.interval import MINUTE_MS, Interval, to_datetime
from hl_pipeline.model.ledger import ProofPolicy
from hl_pipeline.model.tariff import EXCHANGE_WEIGHT_PER_MINUTE
from hl_pipeline.runtime import BUDGET_SHARE
from hl_pipeline.sandbox.gate import SocketLimits
from hl_pipeline.sandbox.request_log import LoggedRequest
from hl_pipeline.sandbox.server import RunningSandbox
from hl_pipeline.sandbox.socket_log import most_in
from hl_pipeline.sandbox.truth import Truth
from hl_pipeline.storage.engine import Database
from hl_pipeline.storage.series import violations

_SQL = Path(__file__).parent / "sql"
#: How often is looked which candles can be read; it counts against us.
_LOOK_SECONDS = 0.1
#: Candles are looked for so long after their open.
_LOOKED_AT_MS = 12 * MINUTE_MS
_TICK_MS = MINUTE_MS
FRESH_SECONDS = 2.0


def _query(name: str) -> bytes:
    return (_SQL / f"{name}.sql").read_bytes()


class Stored(NamedTuple):
    """A row as it stands; ``finality`` is the table's letter, ``asked_ms`` when its value was asked for."""

    candle: Candle
    finality: str
    asked_ms: int | None


@dataclass(slots=True)
class Judgement:
    """``wrongs`` say what must not be; ``lines`` are the figures."""

    wrongs: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def hold(self, found: bool, wrong: str) -> None:
        """Keep ``wrong`` unless ``found``."""
        if not found:
            self.wrongs.append(wrong)


class Freshness:
    """When each closed 1m candle with trades was first seen in the table, in market ms after its close."""

    def __init__(self, speed: float) -> None:
        self.speed = speed
        self.seen_ms: dict[tuple[int, int], int] = {}
        self._ends = threading.Event()

    def stop(self) -> None:
        """Look no more: from now on time runs otherwise."""
        self._ends.set()

    @contextmanager
    def watching(self, database: Database, clock: Clock) -> Iterator[None]:
        """Look often, in a thread, until ``stop`` or the end of the block."""
        with database.connection() as connection:
            series_ids = [row[0] for row in connection.execute(_query("soak_m1_series"))]
        thread = threading.Thread(target=self._look, args=(database, clock, series_ids), name="freshness")
        thread.start()
        try:
            yield
        finally:
            self.stop()
            thread.join()

    def seconds(self, plan: Plan, *, calm_only: bool) -> list[float]:
        """Real seconds from the close to the first sight, of the candles that closed while the stream was up."""
        first = Interval.M1.ceil(plan.begin_ms)
        return [
            (seen - open_ms - MINUTE_MS) / 1000 / self.speed
            for (_, open_ms), seen in self.seen_ms.items()
            if open_ms >= first and (not calm_only or plan.is_calm(open_ms, seen))
        ]

    def _look(self, database: Database, clock: Clock, series_ids: list[int]) -> None:
        while not self._ends.wait(_LOOK_SECONDS):
            since = to_datetime(clock.now_ms() - _LOOKED_AT_MS)
            try:
                with database.connection() as connection:
                    rows = connection.execute(
                        _query("soak_readable"), {"series_ids": series_ids, "since": since}
                    ).fetchall()
            except DatabaseUnavailable:
                continue
            now_ms = clock.now_ms()
            for series_id, open_ms in rows:
                self.seen_ms.setdefault((series_id, open_ms), now_ms)


def open_slots(database: Database, until_ms: int) -> int:
    """How many slots that closed by ``until_ms`` are not settled."""
    with database.connection() as connection:
        row = connection.execute(_query("soak_open"), {"until": to_datetime(until_ms)}).fetchone()
    assert row is not None
    return int(row[0])


def judge(
    database: Database, plan: Plan, sandboxes: Sequence[RunningSandbox], freshness: Freshness, *, is_timed: bool
) -> Judgement:
    """Hold tables, ledger, sockets and weight against what was promised, and the times if they were real."""
    found = Judgement()
    with database.connection() as connection:
        broken = violations(connection)
    found.hold(broken == [], f"the ledger does not hold: {broken[:3]}")
    left = open_slots(database, plan.end_ms)
    found.hold(left == 0, f"{left} slots are not settled")
    for interval in Interval:
        latest_ms = _judge_candles(found, database, sandboxes[0].truth, interval, plan)
        if interval is Interval.M1:
            _judge_finality(found, latest_ms, is_timed=is_timed)
    _judge_sockets(found, sandboxes)
    _judge_weight(found, sandboxes, is_timed=is_timed)
    _judge_freshness(found, plan, freshness, is_timed=is_timed)
    return found


def _judge_candles(found: Judgement, database: Database, truth: Truth, interval: Interval, plan: Plan) -> int:
    """Returns how long after its close the latest undisturbed candle was final, market ms."""
    stored, empty, lost = _stored(database, interval, plan.end_ms)
    counts = dict.fromkeys(("final", "wrong", "not final", "missing", "lost", "twice"), 0)
    latest_ms, latest_calm_ms = 0, 0
    for coin in truth.markets:
        rows = stored.get(coin, [])
        begin, end = interval.ceil(truth.life(coin)[0]), interval.floor(plan.end_ms)
        true = {candle.open_ms: candle for candle in truth.candles(coin, interval, begin, end)}
        held = {row.candle.open_ms for row in rows}
        counts["twice"] += len(rows) - len(held)
        counts["final"] += sum(row.finality == "f" for row in rows)
        counts["not final"] += sum(row.finality != "f" for row in rows)
        counts["lost"] += len(lost.get(coin, set()) & true.keys())
        for row in rows:
            expected = true.get(row.candle.open_ms)
            if expected is None or numbers(row.candle) != numbers(expected):
                counts["wrong"] += 1
                if counts["wrong"] <= 3:
                    found.lines.append(f"wrong: {coin} {interval} {row} is {expected}")
            close_ms = row.candle.open_ms + interval.milliseconds
            if row.asked_ms is not None and close_ms > plan.begin_ms + MINUTE_MS:
                latest_ms = max(latest_ms, row.asked_ms - close_ms)
                if _is_undisturbed(plan, coin, row.candle):
                    latest_calm_ms = max(latest_calm_ms, row.asked_ms - close_ms)
        unsettled = true.keys() - held - empty.get(coin, set()) - lost.get(coin, set())
        counts["missing"] += len(unsettled) + sum(true[at].trades > 0 for at in empty.get(coin, set()) & true.keys())
    for name in ("wrong", "not final", "missing", "lost", "twice"):
        found.hold(counts[name] == 0, f"{counts[name]} candles of {interval} are {name}")
    said = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    found.lines.append(f"{interval}: {said}; final at most {latest_ms / MINUTE_MS:.1f} min after the close")
    return latest_calm_ms


def _is_undisturbed(plan: Plan, coin: str, candle: Candle) -> bool:
    """Whether nothing kept a 1m candle from being final in time; one without a trade may be published late."""
    is_late = any(fault.coin == coin and candle.open_ms in fault.opens_ms for fault in plan.rows)
    return candle.trades > 0 and not is_late and plan.is_calm(candle.open_ms, candle.open_ms + MINUTE_MS)


def _judge_finality(found: Judgement, latest_ms: int, *, is_timed: bool) -> None:
    proof = ProofPolicy()
    bound_ms = proof.confirm_ms + proof.settle_ms + _TICK_MS
    found.lines.append(
        f"1m with trades, of undisturbed minutes: final at most {latest_ms / MINUTE_MS:.2f} min after the close"
        f" (promised: {bound_ms / MINUTE_MS:.2f}), market time"
    )
    found.hold(
        latest_ms <= bound_ms or not is_timed,
        f"an undisturbed 1m candle with trades was final only {latest_ms / MINUTE_MS:.2f} min after its close",
    )


def _stored(
    database: Database, interval: Interval, until_ms: int
) -> tuple[dict[str, list[Stored]], dict[str, set[int]], dict[str, set[int]]]:
    stored: dict[str, list[Stored]] = {}
    spans: dict[str, dict[str, set[int]]] = {"empty": {}, "lost": {}}
    values = {"interval": str(interval), "until": to_datetime(until_ms)}
    with database.connection() as connection:
        for coin, *candle, finality, asked_ms in connection.execute(_query("soak_stored"), values):
            stored.setdefault(coin, []).append(Stored(Candle(*candle), finality, asked_ms))
        for coin, kind, start_ms, end_ms in connection.execute(_query("soak_empty"), values):
            spans[kind].setdefault(coin, set()).update(range(start_ms, end_ms, interval.milliseconds))
    return stored, spans["empty"], spans["lost"]


def numbers(candle: Candle) -> tuple[Any, ...]:
    """A candle as numbers: the venue spells a zero in several ways, and its larger volumes carry a float's noise."""
    volume = Decimal(candle.volume)
    return (candle.open_ms, *(Decimal(text) for text in candle[1:5]), volume.quantize(Decimal("1e-6")), candle.trades)


def _judge_sockets(found: Judgement, sandboxes: Sequence[RunningSandbox]) -> None:
    attempts = [event.market_ms for sandbox in sandboxes for event in sandbox.sockets.log.attempts()]
    most, cap = most_in(MINUTE_MS, attempts), StreamPolicy().connects_a_minute
    said = max((max(sandbox.sockets.messages.most.values(), default=0) for sandbox in sandboxes), default=0)
    allowed = SocketLimits().messages_a_minute or 0
    found.lines.append(
        f"sockets: {len(attempts)} connections tried, at most {most} in any 60 s (cap {cap}); at most {said} messages"
        f" in any 60 s (the exchange allows {allowed})"
    )
    found.hold(most <= cap, f"{most} connections in 60 s, the cap is {cap}")
    found.hold(said < allowed, f"{said} messages in 60 s reach the exchange's limit")


def _judge_weight(found: Judgement, sandboxes: Sequence[RunningSandbox], *, is_timed: bool) -> None:
    # compressed, a request's way takes seconds of market time: then only the exchange's limit is held
    allowed = int(EXCHANGE_WEIGHT_PER_MINUTE * BUDGET_SHARE) if is_timed else EXCHANGE_WEIGHT_PER_MINUTE
    entries = sorted((entry for sandbox in sandboxes for entry in sandbox.log.entries()), key=lambda one: one.at_ms)
    most, refused = _most_weight(entries), sum(entry.status == 429 and not entry.fault for entry in entries)
    found.lines.append(
        f"REST: {len(entries):,} requests, weight {sum(entry.weight for entry in entries):,}, at most {most:,} in any"
        f" 60 s (held to {allowed:,}); {sum(bool(entry.fault) for entry in entries):,}"
        f" met a fault, {refused} exceeded the limit"
    )
    found.hold(most <= allowed, f"weight {most} in 60 s, {allowed} is allowed")
    found.hold(refused == 0, f"{refused} requests exceeded the exchange's limit")


def _most_weight(entries: Sequence[LoggedRequest]) -> int:
    first = total = most = 0
    for entry in entries:
        total += entry.weight
        while entries[first].at_ms <= entry.at_ms - MINUTE_MS:
            total -= entries[first].weight
            first += 1
        most = max(most, total)
    return most


def _judge_freshness(found: Judgement, plan: Plan, freshness: Freshness, *, is_timed: bool) -> None:
    everything, calm = (sorted(freshness.seconds(plan, calm_only=only)) for only in (False, True))
    if not everything:
        found.wrongs.append("no candle was ever readable before it was confirmed")
        return
    for name, seconds in (("all minutes, faults included", everything), ("undisturbed minutes", calm)):
        if seconds:
            middle, late = statistics.median(seconds), seconds[int(len(seconds) * 0.99)]
            found.lines.append(
                f"readable after the close ({name}, {len(seconds):,} candles): median {middle:.2f} s, p99 {late:.2f} s,"
                f" in real seconds at speed {freshness.speed:g}"
            )
    median = statistics.median(everything)
    found.hold(
        median <= FRESH_SECONDS or not is_timed, f"the median candle was readable {median:.2f} s after its close"
    )
