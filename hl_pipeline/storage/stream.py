"""The stream's side of the database: its candles, how far it has watched, what it says of itself."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import psycopg
from psycopg.types.json import Jsonb

from hl_pipeline.model.failure import DatabaseUnavailable
from hl_pipeline.model.interval import WINDOW_SLOTS, Interval, to_datetime
from hl_pipeline.model.live import LiveCandle
from hl_pipeline.model.vitals import StreamVitals
from hl_pipeline.storage.engine import Connection, Database
from hl_pipeline.storage.place import Place
from hl_pipeline.storage.sql import query

#: As it stands in ``hl.fetch``.
REQUEST_TYPE = "candle stream"


class StreamedSeries(NamedTuple):
    """A series of a market whose 1m candles the stream follows."""

    series_id: int
    coin: str
    interval: Interval


class StreamLanded(NamedTuple):
    """Rows that a batch added or changed; ``closed`` of them are provisional candles, the others open ones."""

    written: int
    closed: int


class Watched(NamedTuple):
    """A series that the stream watched up to ``until_ms``, and when its newest slots are to be confirmed; ms UTC."""

    series_id: int
    until_ms: int
    confirm_ms: int


@dataclass(frozen=True, slots=True)
class ProcessState:
    """What the stream's process as a whole does; instants in market ms, UTC. See the columns of hl.stream_process."""

    holder: str
    series: int
    watching_since_ms: int | None
    watched_until_ms: int | None
    queued: int
    overflowed: int
    landed: int
    closed: int
    memory_bytes: int
    stopped_ms: int | None
    started_ms: int


@contextmanager
def waiting_for(database: Database) -> Iterator[None]:
    """Make every hindrance that passes by itself (a lock, a cancelled statement, a full disk) one that is waited for.

    Raises:
        DatabaseUnavailable: what is in the block was not done, and may be repeated.
    """
    try:
        yield
    except psycopg.OperationalError as error:
        first_line = str(error).strip().split("\n")[0]
        raise DatabaseUnavailable(f"{database.address} did not do it: {first_line}; it is tried again") from error


@contextmanager
def only_one(database: Database) -> Iterator[Place]:
    """Hold the installation's one place for a stream; the server frees it when the process ends, however it ends.

    Raises:
        AlreadyRunning: another process streams into this database.
        DatabaseUnavailable: it cannot be asked.
    """
    taken = f"another process already streams into {database.address}: stop that one first (`hl status` names it)"
    place = Place(database, "stream_lock", "hl stream", lambda _: taken)
    place.hold()
    try:
        yield place
    finally:
        place.give_back()


def series(connection: Connection) -> list[StreamedSeries]:
    """What the stream is to watch, by series id."""
    return [
        StreamedSeries(row[0], row[1], Interval(row[2]))
        for row in connection.execute(query("stream_series")).fetchall()
    ]


def land(
    connection: Connection, batch: Sequence[LiveCandle], series_ids: Mapping[str, int], *, fetch_id: int
) -> StreamLanded:
    """Store ``batch`` as open or provisional rows of the 1m series by coin. Their partitions must exist.

    The newer trade count wins; a row that REST read after its close stays.
    """
    connection.execute(query("stream_staging_table"))
    connection.execute(query("stream_staging_clear"))
    lines = "\n".join(
        f"{series_ids[coin]}\t{t}\t{o}\t{h}\t{lo}\t{c}\t{v}\t{n}\t{'t' if is_closed else 'f'}"
        for coin, (t, o, h, lo, c, v, n), is_closed in batch
    )
    with connection.cursor().copy(query("stream_stage")) as copy:
        copy.write(lines)
    opens = [live.candle.open_ms for live in batch]
    row = connection.execute(
        query("stream_land"), {"fetch_id": fetch_id, "first_ms": min(opens), "last_ms": max(opens)}
    ).fetchone()
    return StreamLanded(0, 0) if row is None else StreamLanded(*row)


def watch(connection: Connection, watched: Sequence[Watched], since_ms: int) -> int:
    """Enter how far the stream watched these series without a break since ``since_ms``; returns how many took it.

    Larger series follow their market's 1m series, so call it for those first.
    """
    row = connection.execute(
        query("stream_watch"),
        {
            "series_ids": [found.series_id for found in watched],
            "ends": [to_datetime(found.until_ms) for found in watched],
            "next_tries": [to_datetime(found.confirm_ms) for found in watched],
            "since": to_datetime(since_ms),
            "window_slots": WINDOW_SLOTS,
        },
    ).fetchone()
    return 0 if row is None else int(row[0])


def derive(connection: Connection, series_ids: Collection[int], until_ms: int, *, fetch_id: int) -> int:
    """Make the larger candles that hold the minute before ``until_ms`` of these 1m series; returns how many changed.

    Open ones, and provisional ones where the slot is over. Their partitions must exist.
    """
    row = connection.execute(
        query("stream_derive"),
        {"series_ids": list(series_ids), "ends": to_datetime(until_ms), "fetch_id": fetch_id},
    ).fetchone()
    return 0 if row is None else int(row[0])


def state(connection: Connection) -> StreamVitals | None:
    """What the stream last said of itself; null when none ever ran."""
    row = connection.execute(query("stream_state")).fetchone()
    return None if row is None else StreamVitals(*row)


def report(connection: Connection, sockets: Sequence[Mapping[str, Any]], process: ProcessState, now_ms: int) -> None:
    """Write what the sockets (by the columns of hl.stream) and the process say of themselves."""
    started, now = to_datetime(process.started_ms), to_datetime(now_ms)
    said = {"holder": process.holder, "started_at": started, "now": now}
    connection.execute(query("stream_forget_sockets"), {"sockets": len(sockets)})
    connection.execute(query("stream_report"), {**said, "sockets": Jsonb(list(sockets))})
    connection.execute(
        query("stream_process_report"),
        {
            **said,
            "series": process.series,
            "watching_since": _optional(process.watching_since_ms),
            "watched_until": _optional(process.watched_until_ms),
            "queued": process.queued,
            "overflowed": process.overflowed,
            "landed": process.landed,
            "closed": process.closed,
            "memory_bytes": process.memory_bytes,
            "stopped_at": _optional(process.stopped_ms),
        },
    )


def _optional(at_ms: int | None) -> object:
    return None if at_ms is None else to_datetime(at_ms)
