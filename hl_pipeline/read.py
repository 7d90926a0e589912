"""The front door for readers: candles of one series as an Arrow table or a DataFrame, from Postgres, at once.

    from hl_pipeline.read import about, candles, candles_frame

    table = candles("BTC", "1h", datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 2, tzinfo=UTC))
    about(table).age_s

The exchange is never waited for. When the newest candles are late, and nobody else is at it, a thread asks for those
that are due, in the live lane; the answer says so, and a later read has them.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypedDict, Unpack

import pyarrow as pa

from hl_pipeline.collect.fill import fill
from hl_pipeline.collect.refresh import Refresh, Refresher
from hl_pipeline.model.candle import SeriesKey
from hl_pipeline.model.clock import Clock, SystemClock
from hl_pipeline.model.failure import DatabaseUnavailable, UnknownSeries, Untrusted
from hl_pipeline.model.gap_queue import live_slots
from hl_pipeline.model.interval import MINUTE_MS, Interval, to_datetime, to_ms
from hl_pipeline.model.span import Span
from hl_pipeline.runtime import collect_period_ms, open_database, open_pipeline, settle_in_force
from hl_pipeline.settings import Settings
from hl_pipeline.source.retry import Patience
from hl_pipeline.storage import markets, read_columns
from hl_pipeline.storage.engine import Connection, Database
from hl_pipeline.storage.migrations import check_schema
from hl_pipeline.storage.read_columns import CandleColumns, SeriesAbout

if TYPE_CHECKING:
    import pandas as pd

_KEY = b"hl_pipeline"
#: What counts as there; a value that was last seen while the candle was open does not.
_CLOSED = frozenset({"provisional", "final"})
_PRICES = ("open", "high", "low", "close", "volume")
#: A healthy series' score is written at least once an hour; one older than this says nothing about now.
SCORE_LASTS_MS = 120 * MINUTE_MS
#: For how many seconds the period and the settle time that were found are believed.
_PACE_LASTS_S = 60.0
#: A refresh gives up soon: a later read begins another, and a program that ends waits for its requests under way.
_REFRESH_PATIENCE = Patience(attempts=2, total_s=5.0)
_REFRESH_DEADLINE_S = 5.0

Instant = datetime | int


class About(NamedTuple):
    """What is known of the candles that were read. Times in ms UTC on the market's clock.

    ``newest_close_ms`` is the close of the newest closed candle that is stored, ``age_s`` how long ago that was when it
    was read, in seconds; ``known_until_ms`` how far the exchange has been asked. All three are null when nothing is
    there, and the age of an as-of read is, too. ``score`` and ``grade`` are the newest confidence, of ``scored_ms``.
    ``due`` slots of the window should have a candle by now: ``missing`` of them have none, ``empty`` are proven to
    have had no trade, the candles of ``exported`` are in a file (`hl retention restore`). ``refresh`` says what
    was done about late candles.
    """

    coin: str
    interval: str
    read_ms: int
    as_of_ms: int | None
    newest_close_ms: int | None
    age_s: float | None
    known_until_ms: int | None
    score: float | None
    grade: str | None
    scored_ms: int | None
    due: int
    missing: int
    empty: int
    refresh: Refresh
    exported: int = 0


class Options(TypedDict, total=False):
    """How to read: the keywords of ``candles``."""

    min_confidence: float | None
    fill: Literal["flat"] | None
    as_of: Instant | None
    exact: bool
    refresh: bool
    database: Database | None
    settings: Settings | None


def candles(
    coin: str,
    interval: str,
    start: Instant,
    end: Instant,
    *,
    min_confidence: float | None = None,
    fill: Literal["flat"] | None = None,
    as_of: Instant | None = None,
    exact: bool = False,
    refresh: bool = True,
    database: Database | None = None,
    settings: Settings | None = None,
) -> pa.Table:
    """The candles of one series that open in ``[start, end)``, ascending, the one still open among them.

    Instants are aware datetimes or ms UTC. Columns: ``open_time`` (timestamp[ms, UTC]), ``open`` ``high`` ``low``
    ``close`` ``volume`` (float64; with ``exact`` the stored decimals as strings), ``trades`` (int32), ``finality``
    (open, provisional or final), ``source`` (rest, stream, archive, derived). ``fill="flat"`` adds a flat candle for
    each slot that is proven empty, source ``filled``, without finality. ``as_of`` gives the candles as they were known
    at that instant. ``about`` of the table tells how stale it is and what is missing.

    ``database`` and ``settings`` are those of ``HL_*`` unless given; connections are kept for the next read.

    Raises:
        UnknownSeries: the coin or the interval is not collected.
        Untrusted: the series' confidence is below ``min_confidence`` (0 to 1), or not known of late.
        DatabaseUnavailable: no database is running or reachable.
        SchemaMismatch: the database is older or newer than this code.
        ValueError: an instant without a zone, an end before its start, ``as_of`` together with ``fill``.
    """
    reader = _reader(settings, database)
    return reader.candles(
        coin, interval, start, end,
        min_confidence=min_confidence, fill=fill, as_of=as_of, exact=exact, refresh=refresh,
    )  # fmt: skip


def candles_frame(
    coin: str,
    interval: str,
    start: Instant,
    end: Instant,
    **options: Unpack[Options],
) -> pd.DataFrame:
    """As ``candles``, as a DataFrame: ``open_time`` datetime64[ms, UTC], prices float64, trades int32.

    What ``about`` tells of a table stands in ``frame.attrs``.
    """
    table = candles(coin, interval, start, end, **options)
    frame: pd.DataFrame = table.to_pandas()
    frame.attrs.update(about(table)._asdict())
    return frame


def about(table: pa.Table) -> About:
    """What is known of the candles in a table that ``candles`` gave.

    Raises:
        ValueError: another table, or one whose metadata was dropped on the way.
    """
    told = (table.schema.metadata or {}).get(_KEY)
    if told is None:
        raise ValueError("the table carries no metadata of ours: take one that `candles` returned, unchanged")
    found = About(**json.loads(told))
    return found._replace(refresh=Refresh(found.refresh))


class Reader:
    """Reads the candles of one database; keep one a process, any thread may use it.

    It owns no database that was given. ``clock`` is market time, the settings' by default.
    """

    def __init__(
        self, settings: Settings | None = None, *, database: Database | None = None, clock: Clock | None = None
    ) -> None:
        self.settings = settings or Settings.load()
        self._owned = database is None
        self._database = database
        self._clock = clock or SystemClock(self.settings.clock_offset_ms)
        self._guard = threading.Lock()
        self._pace: _Pace | None = None
        self._refresher = Refresher(self._opened, self._ask)

    def candles(
        self,
        coin: str,
        interval: str,
        start: Instant,
        end: Instant,
        *,
        min_confidence: float | None = None,
        fill: Literal["flat"] | None = None,
        as_of: Instant | None = None,
        exact: bool = False,
        refresh: bool = True,
    ) -> pa.Table:
        """As the function of this name."""
        if fill not in (None, "flat"):
            raise ValueError(f"fill = {fill!r} is no way to fill: take 'flat' or None")
        if fill is not None and as_of is not None:
            raise ValueError("fill and as_of exclude each other: what was proven empty then is not kept; leave one out")
        key = SeriesKey(coin, _interval(interval))
        window = _window(key.interval, start, end)
        known_at_ms = None if as_of is None else _ms(as_of)
        pace, now_ms = self._paced(), self._clock.now_ms()
        settled_until_ms = key.interval.floor(min(now_ms, known_at_ms or now_ms) - pace.settle_ms)
        with self._lent() as connection:
            read_columns.begin_snapshot(connection)
            found = _known(
                read_columns.about(connection, key, window, now_ms=now_ms, settled_until_ms=settled_until_ms), key
            )
            if min_confidence is not None:
                _require(found, key, min_confidence, now_ms)
            assert found.series_id is not None  # noqa: S101  # _known has seen to it
            columns = read_columns.columns(
                connection, key, found.series_id, window, is_filled=fill is not None, known_at_ms=known_at_ms
            )
        state = Refresh.OFF
        if refresh and known_at_ms is None:
            state = Refresh.NOT_DUE
            if _is_late(found, key, window, now_ms, pace):
                state = self._refresher.start(found.series_id, key) if pace.may_refresh else Refresh.NOT_ALLOWED
        return _table(columns, _about(found, columns, key, now_ms, known_at_ms, state), exact)

    def close(self) -> None:
        """Wait for refreshes under way, and give the connections back."""
        self._refresher.join()
        if self._owned and self._database is not None:
            self._database.close()

    @contextmanager
    def _lent(self) -> Iterator[Connection]:
        """A connection in a transaction; a database of our own that broke off is looked for anew by the next read."""
        database = self._opened()
        try:
            with database.connection() as connection:
                yield connection
        except DatabaseUnavailable:
            if self._owned:
                with self._guard:
                    self._database = None if self._database is database else self._database
                    self._pace = None
                database.close()
            raise

    def _opened(self) -> Database:
        with self._guard:
            if self._database is None:
                self._database = open_database(self.settings, application_name="hl_pipeline read")
            return self._database

    def _paced(self) -> _Pace:
        pace = self._pace
        if pace is None or time.monotonic() - pace.since_s > _PACE_LASTS_S:
            with self._lent() as connection:
                if pace is None:
                    check_schema(connection)
                now_ms = self._clock.now_ms()
                settle_ms = settle_in_force(self.settings, connection, now_ms).ms
                period_ms = collect_period_ms(self.settings, markets.cadence(connection, now_ms))
                may_refresh = read_columns.may_refresh(connection)
            self._pace = pace = _Pace(time.monotonic(), settle_ms, period_ms, may_refresh)
        return pace

    def _ask(self, key: SeriesKey) -> None:
        deadline_s = min(self.settings.request_deadline_seconds, _REFRESH_DEADLINE_S)
        settings = self.settings.model_copy(update={"request_deadline_seconds": deadline_s})
        with open_pipeline(
            settings, database=self._opened(), clock=self._clock, only_looks=True, patience=_REFRESH_PATIENCE
        ) as pipeline:
            fill(
                pipeline.source,
                pipeline.database,
                pipeline.clock,
                pipeline.policy,
                coins=[key.coin],
                intervals={Interval.M1, key.interval},  # larger candles are made from minutes
                only=live_slots,
            )


class _Pace(NamedTuple):
    """How fast candles are to be had: settle time and polling period (ms), as found at a monotonic instant.

    ``may_refresh``: whether the database's user may store what was read.
    """

    since_s: float
    settle_ms: int
    period_ms: int
    may_refresh: bool


_READERS: dict[tuple[Settings, int | None], Reader] = {}
_READERS_GUARD = threading.Lock()


def _reader(settings: Settings | None, database: Database | None) -> Reader:
    """This process's reader of that database."""
    settings = settings or Settings.load()
    key = (settings, None if database is None else id(database))
    with _READERS_GUARD:
        if key not in _READERS:
            _READERS[key] = Reader(settings, database=database)
        return _READERS[key]


def _interval(word: str) -> Interval:
    try:
        return Interval(word)
    except ValueError:
        raise UnknownSeries(f"interval {word!r}: there are {', '.join(Interval)}; ask for one of these") from None


def _ms(at: Instant) -> int:
    return at if isinstance(at, int) else to_ms(at)


def _window(interval: Interval, start: Instant, end: Instant) -> Span:
    """The slots that open in ``[start, end)``."""
    start_ms, end_ms = _ms(start), _ms(end)
    if end_ms < start_ms:
        raise ValueError(f"the end {to_datetime(end_ms)} is before the start {to_datetime(start_ms)}: swap them")
    return Span(interval.ceil(start_ms), interval.ceil(end_ms))


def _known(found: SeriesAbout | None, key: SeriesKey) -> SeriesAbout:
    if found is None:
        raise UnknownSeries(
            f"coin {key.coin!r}: the exchange has never named it, or has not been asked yet; write it as the exchange "
            "does (BTC, @107, xyz:TSLA) and see `hl status`"
        )
    if found.series_id is None:
        raise UnknownSeries(
            f"{key.coin} {key.interval} is not collected: name the coin in HL_MARKETS and the interval in HL_INTERVALS"
        )
    return found


def _require(found: SeriesAbout, key: SeriesKey, least: float, now_ms: int) -> None:
    step = f"`hl confidence {key.coin} {key.interval}` says why; wait for it to heal, or ask for less"
    if found.score is None or found.scored_ms is None:
        raise Untrusted(f"{key.coin} {key.interval} has no confidence score yet, and {least:g} is asked for: {step}")
    age_ms = now_ms - found.scored_ms
    if age_ms > SCORE_LASTS_MS:
        raise Untrusted(
            f"{key.coin} {key.interval} was last scored {age_ms / 3_600_000:.1f} h ago, which says nothing about now, "
            f"and {least:g} is asked for: is the pipeline running? `hl status` shows it"
        )
    if found.score < least:
        raise Untrusted(
            f"{key.coin} {key.interval} has confidence {found.score:.2f} ({found.grade}), "
            f"and {least:g} is asked for: {step}"
        )


def _is_late(found: SeriesAbout, key: SeriesKey, window: Span, now_ms: int, pace: _Pace) -> bool:
    """Whether the window reaches candles that ought to be there: the newest is older than collecting lets it become."""
    newest_ms = found.newest_close_ms or 0
    allowed_ms = key.interval.milliseconds + pace.period_ms + pace.settle_ms + MINUTE_MS
    return bool(found.is_live) and window.end_ms > newest_ms and now_ms - newest_ms > allowed_ms


def _about(
    found: SeriesAbout, columns: CandleColumns, key: SeriesKey, now_ms: int, known_at_ms: int | None, refresh: Refresh
) -> About:
    due = missing = 0
    if found.due_from_ms is not None and found.due_until_ms is not None:
        due = (found.due_until_ms - found.due_from_ms) // key.interval.milliseconds
        there = sum(
            found.due_from_ms <= open_ms < found.due_until_ms and finality in _CLOSED
            for open_ms, finality in zip(columns.open_ms, columns.finality, strict=True)
        )
        missing = max(0, due - there - found.empty - found.exported)
    newest_ms = found.newest_close_ms
    return About(
        coin=key.coin,
        interval=str(key.interval),
        read_ms=now_ms,
        as_of_ms=known_at_ms,
        newest_close_ms=newest_ms,
        age_s=None if newest_ms is None or known_at_ms is not None else (now_ms - newest_ms) / 1000,
        known_until_ms=found.known_until_ms,
        score=found.score,
        grade=found.grade,
        scored_ms=found.scored_ms,
        due=due,
        missing=missing,
        empty=found.empty,
        refresh=refresh,
        exported=found.exported,
    )


def _table(columns: CandleColumns, told: About, exact: bool) -> pa.Table:
    open_time = pa.array(columns.open_ms, pa.int64()).cast(pa.timestamp("ms", "UTC"))
    arrays: dict[str, Any] = {"open_time": open_time}
    for name in _PRICES:
        decimals = pa.array(getattr(columns, name), pa.string())
        arrays[name] = decimals if exact else decimals.cast(pa.float64())
    arrays["trades"] = pa.array(columns.trades, pa.int32())
    arrays["finality"] = pa.array(columns.finality, pa.string())
    arrays["source"] = pa.array(columns.source, pa.string())
    return pa.table(arrays).replace_schema_metadata({_KEY: json.dumps(told._asdict())})
