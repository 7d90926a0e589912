"""What is measured of the whole pipeline before its health is judged. Times in ms UTC of market time unless said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from hl_pipeline.model.dead_letter import DeadLetterTally
from hl_pipeline.model.endpoint import EndpointState
from hl_pipeline.model.interval import Interval
from hl_pipeline.model.open_gap import EndangeredSlots


@dataclass(frozen=True, slots=True)
class IntervalVitals:
    """One interval over the series of tracked, listed markets.

    ``newest_close_ms`` is of the series furthest behind, ``stalest`` its coin; null when some series has none.
    Slots that are due are ``final``, ``empty``, ``lost`` or a gap; ``overdue`` counts gap slots whose next try has
    passed by more than a period, ``waiting`` the other gap slots.
    """

    interval: Interval
    series: int
    newest_close_ms: int | None
    stalest: str | None
    without_candle: int = 0
    due: int = 0
    final: int = 0
    empty: int = 0
    lost: int = 0
    overdue: int = 0
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class VanishedRow:
    """A stored final candle that later answers lack though they cover its slot.

    ``open_ms`` is its slot; the other instants are those of the first and the newest such answer, ``fetch_id`` the
    newest one's.
    """

    coin: str
    interval: Interval
    open_ms: int
    first_absent_ms: int
    last_absent_ms: int
    fetch_id: int
    times_absent: int


class StreamVitals(NamedTuple):
    """What the stream's process last said of itself; instants in market ms, UTC.

    ``connected`` of its ``sockets`` stand. ``watched_until_ms``: no frame was missed from ``watching_since_ms`` to
    there. ``last_frame_ms`` is of the socket that was silent the longest; ``lag_ms`` from a minute's end to the next
    one's first frame. ``overflowed`` frames were dropped while the database was away; ``rejected`` ones broke a rule.
    """

    holder: str
    updated_ms: int
    started_ms: int
    stopped_ms: int | None
    series: int
    watching_since_ms: int | None
    watched_until_ms: int | None
    queued: int
    overflowed: int
    closed: int
    memory_bytes: int
    sockets: int
    connected: int
    last_frame_ms: int | None
    lag_ms: float | None
    reconnects: int
    frames_last_minute: int
    rejected: int
    last_error: str | None
    endpoint: str | None


@dataclass(frozen=True, slots=True)
class Vitals:
    """Numbers behind the report. Latencies in milliseconds, periods in seconds; the fetch figures cover 15 minutes.

    ``candles_estimated`` is the planner's figure for all months, ``candles_recent`` counts the last two days exactly.
    ``losing_series`` lost slots within the last day; ``vanished`` rows stand newest absence first.
    ``endpoints`` are those in use, the primary first; none before the pipeline was first opened.
    ``stream`` is null when none ever ran here; ``expects_stream`` when one is to run (HL_STREAM).
    ``endangered`` are the gap slots that the exchange forgets within twelve hours; null when there are none.
    """

    now_ms: int
    period_s: float
    settle_s: float
    markets: int
    database_ms: float
    candles_estimated: int
    candles_recent: int
    rows_breaking_contract: int
    fetches: int
    fetches_failed: int
    fetches_limited: int
    fetch_p50_ms: float | None
    fetch_p99_ms: float | None
    last_landed_ms: int | None
    budget_max: int | None
    budget_spent: int
    budget_refused_since_s: float | None
    intervals: Mapping[Interval, IntervalVitals] = field(default_factory=dict)
    endangered: EndangeredSlots | None = None
    losing_series: int = 0
    vanished: Sequence[VanishedRow] = ()
    dead_letters: DeadLetterTally = field(default_factory=DeadLetterTally)
    endpoints: Sequence[EndpointState] = ()
    stream: StreamVitals | None = None
    expects_stream: bool = False
