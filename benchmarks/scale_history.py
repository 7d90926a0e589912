"""A history of many markets and months, made by set-based SQL: what a year of live collection leaves in the tables.

Every market follows thirty days of a random walk at a price and an offset of its own, so that larger candles are the
exact aggregate of the 1m ones and the ledger holds. Rows lie in the order in which they would have been collected.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, LiteralString

from psycopg import sql

from hl_pipeline.model.interval import EPOCH, Interval, to_ms
from hl_pipeline.storage import candles, series
from hl_pipeline.storage.engine import Connection, Database
from hl_pipeline.storage.sql import query

_FOLDER = Path(__file__).resolve().parent / "sql"
_DAY = timedelta(days=1)
_MINUTE = timedelta(minutes=1)
_SEED = "select setseed(0.42)"
_NO_GAPS = "delete from hl.gap"
_TRACKED_FROM = "update hl.series set tracked_from = %(starts)s"


@cache
def statement(name: str) -> LiteralString:
    """The one statement of ``benchmarks/sql/scale_NAME.sql``."""
    return (_FOLDER / f"scale_{name}.sql").read_text(encoding="utf-8")


@dataclass(slots=True)
class History:
    """``markets`` markets from the first of a month on, all six intervals, a month at a time.

    Collection stands at the ``edge``: noon (UTC) of a month's last day, where each series has its open candle.
    """

    database: Database
    markets: int
    starts: datetime = datetime(2025, 1, 1, tzinfo=UTC)
    edge: datetime = field(init=False)
    months: int = 0

    def __post_init__(self) -> None:
        self.edge = self.starts

    @property
    def edge_ms(self) -> int:
        """The edge in ms UTC."""
        return to_ms(self.edge)

    def begin(self) -> None:
        """Markets and series, and the template they are made from."""
        with self.database.connection() as connection:
            connection.execute(statement("tables"))
            connection.execute(_SEED)
            connection.execute(statement("template"))
            connection.execute(statement("template_larger"))
            connection.execute(statement("markets"), {"markets": self.markets, "starts": self.starts})
            series.ensure(connection, tuple(Interval), to_ms(self.starts))
            connection.execute(_TRACKED_FROM, {"starts": self.starts})
            connection.execute(statement("series"))
        with self.database.autocommit() as connection:
            connection.execute("analyze scale.series, scale.template, scale.quiet_minute, hl.market, hl.series")

    def add_month(self) -> None:
        """Collect on until noon of the next month's last day."""
        since, self.edge = self.edge, _noon_of_last_day(self.starts, self.months)
        self.months += 1
        with self.database.connection() as connection:
            connection.execute(statement("track"), {"markets": self.markets})
            self._candles(connection, since)
            self._run(connection, "holes", "holes_cut", since=since)
            self._ledger(connection, since)
            self._run(connection, "fetches", "revisions", "funding", "scores", since=since)
            _ensure(connection, "market_context", self.edge - _DAY, self.edge)
            self._run(connection, "contexts", "mark", since=since)

    def restore_edge(self) -> None:
        """Undo what landings added after the edge."""
        with self.database.connection() as connection:
            self._candles(connection, self.edge)
            self._ledger(connection, self.edge)

    def settle_statistics(self) -> None:
        """What autovacuum would have done by now: visibility and statistics of the newest tables."""
        with self.database.autocommit() as connection:
            for month in {(day.year, day.month) for day in (self.edge - 31 * _DAY, self.edge) if day >= self.starts}:
                table = sql.Identifier("hl", "candle_{:04}_{:02}".format(*month))
                connection.execute(sql.SQL("vacuum (analyze) {}").format(table))
            connection.execute("vacuum (analyze) hl.coverage, hl.gap, hl.series, hl.fetch, hl.candle_revision")
            connection.execute("vacuum (analyze) hl.confidence, hl.funding_rate, hl.market_context, hl.market")
            candles.analyze(connection)

    def track(self, markets: int) -> None:
        """Collect the first ``markets`` of the markets from now on, as far as the queries are concerned."""
        with self.database.connection() as connection:
            connection.execute(statement("track"), {"markets": markets})
        with self.database.autocommit() as connection:
            connection.execute("vacuum (analyze) hl.market")

    def _candles(self, connection: Connection, since: datetime) -> None:
        """The candles from ``since`` to the edge; those open at ``since`` are written anew."""
        _ensure(connection, "candle", since, self.edge + _MINUTE)
        connection.execute(statement("edge_clear"), {"edge": since})
        day = since.replace(hour=0)
        while day <= self.edge:
            number = (day - EPOCH) // _DAY
            self._run(connection, "candles_of_day", since=since, day=day, day_number=number)
            day += _DAY

    def _ledger(self, connection: Connection, since: datetime) -> None:
        """What the ledger says at the edge of the months from ``since`` on."""
        connection.execute(_NO_GAPS)
        self._run(connection, "coverage", "gaps", "series_known", since=since)

    def _run(self, connection: Connection, *names: str, since: datetime, **more: Any) -> None:
        values: Mapping[str, Any] = {"since": since, "edge": self.edge, **more}
        for name in names:
            connection.execute(statement(name), values)


def _ensure(connection: Connection, parent: str, starts: datetime, ends: datetime) -> None:
    connection.execute(query("partitions_ensure"), {"parent": parent, "starts": starts, "ends": ends})


def _noon_of_last_day(starts: datetime, months: int) -> datetime:
    """Noon of the last day of the month that is ``months`` after ``starts``."""
    years, month = divmod(starts.month + months, 12)
    return starts.replace(year=starts.year + years, month=month + 1) - timedelta(hours=12)
