"""What the stream writes: provisional candles and quotes, how far it watched, the larger candles, its own state.

One thread calls it, in order. All of it may be repeated after a failure, and nothing here asks the exchange.
"""

from __future__ import annotations

import resource
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hl_pipeline.model.answer import Receipt
from hl_pipeline.model.clock import Clock
from hl_pipeline.model.confirm import confirm_at
from hl_pipeline.model.interval import Interval
from hl_pipeline.model.ledger import ProofPolicy
from hl_pipeline.model.live import LiveCandle
from hl_pipeline.model.market import MarketContext
from hl_pipeline.storage import fetches, markets, stream
from hl_pipeline.storage.candles import Partitions
from hl_pipeline.storage.engine import Connection, Database
from hl_pipeline.storage.stream import ProcessState, StreamedSeries, Watched

_M5_MS = Interval.M5.milliseconds
#: Larger candles are made at most an hour back: what is older waits for its confirmation.
_MOST_DERIVED = 12
_SWITCHING_PROTOCOLS = 101


@dataclass(slots=True)
class StreamStats:
    """What one process has done. ``landed`` rows were written, ``closed`` of them provisional candles.

    ``silent_markets``: how often a market fell silent while its socket spoke.
    """

    landed: int = 0
    closed: int = 0
    quotes: int = 0
    watched: int = 0
    repairs: int = 0
    database_failures: int = 0
    silent_markets: int = 0


class StreamWriter:
    """Writes for the series that ``load`` found last. Not for several threads at once.

    Everything raises DatabaseUnavailable for what passes by itself, and may be repeated then.
    """

    def __init__(self, database: Database, clock: Clock, proof: ProofPolicy) -> None:
        self.stats = StreamStats()
        self.series_ids: Mapping[str, int] = {}
        self._database, self._clock, self._proof = database, clock, proof
        self._series: list[StreamedSeries] = []
        self._partitions = Partitions(database)
        self._context_partitions = Partitions(database, "market_context")

    def load(self) -> None:
        """Learn which series there are; ``series_ids`` are those of 1m by coin."""
        with self._connection() as connection:
            self._series = stream.series(connection)
        self.series_ids = {found.coin: found.series_id for found in self._series if found.interval is Interval.M1}

    def land(self, batch: Sequence[LiveCandle], quotes: Sequence[MarketContext], now_ms: int, endpoint: str) -> None:
        """Store candles and quotes in one transaction, under one provenance row: nothing was known before now."""
        known = [live for live in batch if live.coin in self.series_ids]
        if not known and not quotes:
            return
        with stream.waiting_for(self._database):
            if known:
                opens = [live.candle.open_ms for live in known]
                self._partitions.ensure(min(opens), max(opens))
            if quotes:
                self._context_partitions.ensure(now_ms, now_ms)
        closed = written = stored = 0
        with self._connection() as connection:
            fetch_id = fetches.asked(connection, stream.REQUEST_TYPE, now_ms)
            if known:
                written, closed = stream.land(connection, known, self.series_ids, fetch_id=fetch_id)
            if quotes:
                stored = markets.insert_contexts(connection, quotes, now_ms, fetch_id=fetch_id, tracked_only=True)
            fetches.landed(connection, fetch_id, _receipt(endpoint), rows=written + stored)
        self.stats.landed += written
        self.stats.closed += closed
        self.stats.quotes += stored

    def enter(self, coins: Collection[str], since_ms: int, until_ms: int, entered_ms: int, endpoint: str) -> None:
        """Let the ledger know that these markets were watched from ``since_ms`` until ``until_ms`` without a break.

        It was told up to ``entered_ms`` before; larger candles that ended since are made.
        """
        mine, entered_ms = set(coins), max(entered_ms, since_ms)
        bases, larger = self._watched(mine, until_ms, entered_ms)
        with self._connection() as connection:
            self.stats.watched += stream.watch(connection, bases, since_ms)
            stream.watch(connection, larger, since_ms)
        for ends_ms in range(Interval.M5.floor(entered_ms) + _M5_MS, until_ms + 1, _M5_MS)[-_MOST_DERIVED:]:
            self._derive([found.series_id for found in bases], ends_ms, endpoint)

    def report(self, sockets: Sequence[Mapping[str, object]], process: ProcessState) -> None:
        """Store what the stream says of itself."""
        with self._connection() as connection:
            stream.report(connection, sockets, process, self._clock.now_ms())

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        with stream.waiting_for(self._database), self._database.connection() as connection:
            yield connection

    def _watched(self, coins: set[str], until_ms: int, entered_ms: int) -> tuple[list[Watched], list[Watched]]:
        """The 1m series of these coins, and the larger ones in which a slot ended since ``entered_ms``."""
        bases: list[Watched] = []
        larger: list[Watched] = []
        for series in self._series:
            if series.coin not in coins:
                continue
            is_base, ends_ms = series.interval is Interval.M1, series.interval.floor(until_ms)
            confirm_ms = confirm_at(
                series.series_id,
                not is_base,
                ends_ms,
                every_ms=self._proof.confirm_ms,
                settle_ms=self._proof.settle_ms,
            )
            if is_base or ends_ms > entered_ms:
                (bases if is_base else larger).append(Watched(series.series_id, ends_ms, confirm_ms))
        return bases, larger

    def _derive(self, series_ids: list[int], ends_ms: int, endpoint: str) -> None:
        with stream.waiting_for(self._database):
            self._partitions.ensure(Interval.D1.floor(ends_ms - 1), ends_ms)
        with self._connection() as connection:
            fetch_id = fetches.asked(connection, stream.REQUEST_TYPE, self._clock.now_ms())
            made = stream.derive(connection, series_ids, ends_ms, fetch_id=fetch_id)
            fetches.landed(connection, fetch_id, _receipt(endpoint), rows=made)


def memory_bytes() -> int:
    """Memory this process holds now; where the system does not say, the most it ever held."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text(encoding="ascii").split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _receipt(endpoint: str) -> Receipt:
    return Receipt(endpoint, _SWITCHING_PROTOCOLS, 0.0, 0, b"")
