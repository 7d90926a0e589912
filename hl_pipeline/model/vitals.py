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


class UnfinishedRuns(NamedTuple):
    """Runs of one job in one state that is not the last; ``longest_s`` of them has been in it for so many seconds."""

    job: str
    state: str
    runs: int
    longest_s: float


@dataclass(frozen=True, slots=True)
class DagsterVitals:
    """What Dagster's own tables say; ages in seconds by the clock of their server.

    ``silent_s`` is how long ago each thread of the daemon last spoke, ``ailing`` are those that then spoke of an
    error. ``failing`` are the jobs whose newest finished run failed, ``failed`` counts the failed runs of 24 hours.
    ``switched_on`` are the schedules and sensors that are on, by name.
    """

    silent_s: Mapping[str, float]
    ailing: Sequence[str]
    unfinished: Sequence[UnfinishedRuns]
    failing: Sequence[str]
    failed: int
    switched_on: frozenset[str]


class DiskVitals(NamedTuple):
    """The file system of ``folder``: bytes free to this user, bytes in all, and which share of its files is free."""

    folder: str
    free_bytes: int
    total_bytes: int
    free_files: float


class HostVitals(NamedTuple):
    """This machine and this process."""

    disks: Sequence[DiskVitals]
    memory_bytes: int


class TrustVitals(NamedTuple):
    """The newest confidence of the tracked series, 0 to 1: its mean; and the share of latest metrics that have .75."""

    series: int
    mean_confidence: float | None
    metrics: int
    high_confidence_rate: float | None


class DeliveryVitals(NamedTuple):
    """Notices of 24 hours: ``sent`` in so many ``attempts``; ``late`` are channels where one waits for five minutes."""

    notices: int
    sent: int
    attempts: int
    waiting: int
    longest_wait_s: float | None
    late: Sequence[str]


class Standing(NamedTuple):
    """Since when the database server runs (its own clock), and when the first health report was kept; ms UTC."""

    server_started_ms: int
    watched_since_ms: int | None


class Blindness(NamedTuple):
    """Nothing of the database can be told: the check that says so, and why."""

    check: str
    reason: str


@dataclass(frozen=True, slots=True)
class Vitals:
    """Numbers behind the report. Latencies in milliseconds, periods in seconds; the fetch figures cover 15 minutes.

    ``candles_estimated`` is the planner's figure for all months, ``candles_recent`` counts the last two days exactly.
    ``losing_series`` lost slots within the last day; ``vanished`` rows stand newest absence first.
    ``endpoints`` are those in use, the primary first; none before the pipeline was first opened.
    ``stream`` is null when none ever ran here; ``expects_stream`` when one is to run (HL_STREAM).
    ``endangered`` are the gap slots that the exchange forgets within twelve hours; null when there are none.
    ``dagster``, ``host``, ``trust``, ``delivery``, ``standing`` and ``migrations`` (how many are applied) are null
    where the caller did not ask for them; ``no_dagster`` says why Dagster has nothing to tell here.
    ``unmeasured`` says of a group of numbers why there are none; ``blind`` that this is so of the whole database.
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
    trust: TrustVitals | None = None
    delivery: DeliveryVitals | None = None
    standing: Standing | None = None
    migrations: int | None = None
    dagster: DagsterVitals | None = None
    no_dagster: str | None = None
    host: HostVitals | None = None
    unmeasured: Mapping[str, str] = field(default_factory=dict)
    blind: Blindness | None = None

    @classmethod
    def unseen(cls, now_ms: int, blind: Blindness) -> Vitals:
        """What there is to say when the database cannot be read."""
        return cls(
            now_ms=now_ms, period_s=0.0, settle_s=0.0, markets=0, database_ms=0.0, candles_estimated=0,
            candles_recent=0, rows_breaking_contract=0, fetches=0, fetches_failed=0, fetches_limited=0,
            fetch_p50_ms=None, fetch_p99_ms=None, last_landed_ms=None, budget_max=None, budget_spent=0,
            budget_refused_since_s=None, blind=blind,
        )  # fmt: skip
