"""What a back-fill will ask, and what it can still get: reckoned before anything is sent.

The requests are those of ``plan``, so a forecast equals what the run will ask.
Rows are the slots the requests cover times the share of slots that had a row
in this series so far; weight follows from the rows by the exchange's tariff.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from hl_pipeline.model.candle import SeriesKey
from hl_pipeline.model.interval import WINDOW_SLOTS, to_datetime
from hl_pipeline.model.ledger import ProofPolicy, SeriesState
from hl_pipeline.model.plan import due_slots, plan
from hl_pipeline.model.span import Span, SpanSet
from hl_pipeline.model.tariff import request_weight


class Source(StrEnum):
    """Whether the exchange still has the slots of a month that are not settled."""

    HELD = "held"  # nothing due is missing: no request
    REACHABLE = "reachable"
    PARTLY_GONE = "partly gone"
    GONE = "gone"
    BEFORE_LISTING = "before listing"
    AFTER_DELISTING = "after delisting"
    NOT_YET = "not yet closed"


#: A month of these cannot be had at all: it is never materialized, and asking for it costs nothing.
NOTHING_TO_HAVE = frozenset({Source.GONE, Source.BEFORE_LISTING, Source.AFTER_DELISTING, Source.NOT_YET})


class Settled(NamedTuple):
    """Slots of one month and series that the ledger has done with."""

    final: int = 0
    empty: int = 0
    lost: int = 0


#: By series id and first instant of the month.
Ledger = Mapping[tuple[int, int], Settled]


@dataclass(frozen=True, slots=True)
class MonthForecast:
    """One month of one series: ``wanted`` slots will be asked for; ``story`` says in a sentence what can be had."""

    key: SeriesKey
    month: Span
    source: Source
    settled: Settled
    wanted: int
    story: str


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a back-fill will ask: requests, the most they can weigh, the rows they are expected to bring."""

    calls: int
    weight: int
    rows: int
    months: tuple[MonthForecast, ...] = ()

    @property
    def nothing_to_have(self) -> tuple[MonthForecast, ...]:
        """The months whose source is gone, or never was."""
        return tuple(month for month in self.months if month.source in NOTHING_TO_HAVE)


@dataclass(frozen=True, slots=True)
class Pace:
    """Weight a minute: of the whole budget, what live collection takes of it, and the back-fill lane's floor."""

    budget: int
    live: int
    floor: int

    def minutes(self, weight: int) -> tuple[float, float, float]:
        """How long ``weight`` takes: with the budget to itself, beside live collection, held to its floor."""
        beside_live = max(self.budget - self.live, self.floor)
        return weight / self.budget, weight / beside_live, weight / self.floor


def forecast(
    states: Iterable[SeriesState],
    now_ms: int,
    policy: ProofPolicy,
    *,
    window: Span,
    months: Collection[Span],
    ledger: Ledger | None = None,
) -> Forecast:
    """What filling ``window`` of these series asks, and what is to be had of each of ``months`` (UTC, whole).

    ``ledger`` may cover more months than those: it also tells the share of slots that have a row.
    """
    states, ledger = list(states), ledger or {}
    shares = _row_shares(ledger)
    requests = plan(states, now_ms, policy, window=window)
    rows = [round(request.request.slots * shares.get(request.series_id, 1.0)) for request in requests]
    return Forecast(
        calls=len(requests),
        weight=sum(request_weight("candleSnapshot", count) for count in rows),
        rows=sum(rows),
        months=tuple(
            _month(state, month, due, ledger.get((state.series_id, month.start_ms), Settled()), now_ms, policy)
            for state in states
            for due in [due_slots(state, now_ms, policy, window=window)]
            for month in sorted(months)
        ),
    )


def _row_shares(ledger: Ledger) -> dict[int, float]:
    """The share of settled slots that had a row, by series; a series with none settled is left out."""
    final: defaultdict[int, int] = defaultdict(int)
    both: defaultdict[int, int] = defaultdict(int)
    for (series_id, _), counts in ledger.items():
        final[series_id] += counts.final
        both[series_id] += counts.final + counts.empty
    return {series_id: final[series_id] / slots for series_id, slots in both.items() if slots}


def unknown_series(series_id: int, key: SeriesKey, now_ms: int) -> SeriesState:
    """A series nobody has asked for: all that the exchange keeps is expected of it."""
    oldest = key.interval.oldest_reachable(now_ms)
    return SeriesState(series_id, key, tracked_from_ms=oldest, known_until_ms=oldest)


def _month(
    state: SeriesState, month: Span, due: SpanSet, settled: Settled, now_ms: int, policy: ProofPolicy
) -> MonthForecast:
    wanted = (due & SpanSet.single(*month)).slots(state.step_ms)
    source = _source(state, month, wanted, now_ms, policy)
    story = _story(state, source, wanted, month, now_ms)
    if source is Source.HELD and settled.lost and not settled.final + settled.empty:
        source, story = Source.GONE, f"source gone: all its {settled.lost} slots were lost before anybody asked"
    return MonthForecast(state.key, month, source, settled, wanted, story)


def _source(state: SeriesState, month: Span, wanted: int, now_ms: int, policy: ProofPolicy) -> Source:
    if month.start_ms >= state.key.interval.floor(now_ms - policy.settle_ms):
        return Source.NOT_YET
    if state.first_open_ms is not None and month.end_ms <= state.first_open_ms:
        return Source.BEFORE_LISTING
    if state.ended_ms is not None and month.start_ms >= state.ended_ms:
        return Source.AFTER_DELISTING
    had_from = _had_from(state, now_ms)
    if month.end_ms <= had_from:
        return Source.GONE
    if not wanted:
        return Source.HELD
    begins = month.start_ms if state.first_open_ms is None else max(month.start_ms, state.first_open_ms)
    return Source.PARTLY_GONE if begins < had_from else Source.REACHABLE


def _had_from(state: SeriesState, now_ms: int) -> int:
    """Open time of the oldest slot that could ever be had: what was reachable when tracking began, or is now."""
    return state.key.interval.oldest_reachable(now_ms) if state.never_answered else state.tracked_from_ms


def _story(state: SeriesState, source: Source, wanted: int, month: Span, now_ms: int) -> str:
    slots = "1 slot" if wanted == 1 else f"{wanted:,} slots"
    match source:
        case Source.REACHABLE:
            return f"{slots} to ask for; all can be had"
        case Source.PARTLY_GONE:
            return f"{slots} to ask for; those before {_minute(_had_from(state, now_ms))} are gone"
        case Source.GONE:
            oldest = _minute(state.key.interval.oldest_reachable(now_ms))
            kept = f"the exchange keeps the newest {WINDOW_SLOTS:,} candles"
            return f"source gone: {kept}, {state.key.interval} since {oldest}"
        case Source.BEFORE_LISTING:
            return f"before the first candle of {state.key.coin}, {_minute(state.first_open_ms or 0)}"
        case Source.AFTER_DELISTING:
            return f"after the last candle of {state.key.coin}, {_minute(state.ended_ms or 0)}"
        case Source.NOT_YET:
            return "no slot of it has closed yet"
        case Source.HELD:
            had_from = _had_from(state, now_ms)
            begins = month.start_ms if state.first_open_ms is None else max(month.start_ms, state.first_open_ms)
            since = f" since {_minute(had_from)}, what was before is gone" if begins < had_from else ""
            return f"nothing to ask for: what is due is settled{since}"


def _minute(at_ms: int) -> str:
    return f"{to_datetime(at_ms):%Y-%m-%d %H:%M}"
