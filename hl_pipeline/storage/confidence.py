"""hl.confidence: gathers what is scored in four set queries, keeps the scores, reads the newest or all of a series."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any, NamedTuple

from psycopg.types.json import Jsonb

from hl_pipeline.model.candle import SeriesKey
from hl_pipeline.model.interval import Interval, to_datetime
from hl_pipeline.model.trust import Confidence, SeriesInputs
from hl_pipeline.storage.engine import Connection
from hl_pipeline.storage.sql import query

_NOTHING = (0,) * 7


class KeptScore(NamedTuple):
    """A score that was kept of a series; ``scored_ms`` is market time, ms UTC; ``components`` as stored."""

    series_id: int
    key: SeriesKey
    scored_ms: int
    score: float
    grade: str
    weakest: str
    reasons: list[str]
    components: dict[str, Any]


def gather(connection: Connection, now_ms: int, period_s: float, settle_ms: int = 10_000) -> list[SeriesInputs]:
    """What is measured of every tracked series at market time ``now_ms`` (design section 9).

    ``period_s`` is how often the live edge is asked for; ``settle_ms`` as in the proof policy.
    """
    moment = {"now": to_datetime(now_ms)}
    received = {row[0]: row[1:] for row in connection.execute(query("confidence_received"), moment)}
    compared = {row[0]: row[1:] for row in connection.execute(query("confidence_agreement"), moment)}
    oddities = {row[0]: row[1] for row in connection.execute(query("confidence_oddities"), moment)}
    parameters = {**moment, "settle": timedelta(milliseconds=settle_ms)}
    found = [
        _inputs(row, period_s, received.get(row[0], (0, 0)), compared.get(row[0], _NOTHING), oddities.get(row[0]))
        for row in connection.execute(query("confidence_slots"), parameters)
    ]
    minutes = {i.key.coin: compared.get(i.series_id, _NOTHING)[5:] for i in found if i.key.interval is Interval.M1}
    return [
        replace(inputs, derived_suspect=_suspect(inputs, *minutes.get(inputs.key.coin, (0, 0)))) for inputs in found
    ]


def _suspect(inputs: SeriesInputs, compared: int, differing: int) -> float | None:
    """How many of the derived candles must be expected wrong, by what the venue's 5m candles say of the 1m ones.

    ``differing`` of ``compared`` 5m candles accuse their 1m ones. One of several minutes suffices to spoil a candle.
    None where nothing is derived or no 5m candle was compared.
    """
    derived = inputs.grades.get("derived", 0)
    if not derived or not compared:
        return None
    sound = 1.0 - differing / compared
    return float(derived * (1.0 - sound ** (inputs.key.interval.milliseconds // Interval.M5.milliseconds)))


def store(connection: Connection, scored_at_ms: int, scores: Iterable[Confidence]) -> int:
    """Keeps the scores and says how many rows were written.

    A score that moved less than .005 with the same grade and blame is written at most once an hour, so a healthy
    series costs 24 rows a day.
    """
    rows = [
        {
            "series_id": found.series_id,
            "score": found.score,
            "grade": found.grade,
            "weakest": found.weakest,
            "components": {name: asdict(component) for name, component in found.components.items()},
            "reasons": found.reasons,
        }
        for found in scores
    ]
    parameters = {"scored_at": to_datetime(scored_at_ms), "scores": Jsonb(rows)}
    return connection.execute(query("confidence_insert"), parameters).rowcount


def latest(connection: Connection) -> list[KeptScore]:
    """The newest score of each tracked series that has one."""
    return [_kept(row) for row in connection.execute(query("confidence_latest"))]


def history(connection: Connection, key: SeriesKey, since_ms: int = 0) -> list[KeptScore]:
    """The scores kept of one series since ``since_ms`` (market time, UTC), oldest first; none if it has none."""
    parameters = {"coin": key.coin, "interval": str(key.interval), "since": to_datetime(since_ms)}
    return [_kept(row) for row in connection.execute(query("confidence_history"), parameters)]


def _kept(row: tuple[Any, ...]) -> KeptScore:
    return KeptScore(row[0], SeriesKey(row[1], Interval(row[2])), *row[3:])


def _inputs(
    row: tuple[Any, ...], period_s: float, received: tuple[int, ...], compared: tuple[int, ...], oddities: int | None
) -> SeriesInputs:
    series_id, coin, interval, expected, present, empty, longest, at_head, longest_inside, rejected = row[:10]
    age_s, ended, bad, final, archive, derived, stream, still_open, revised, mark_distance = row[10:]
    return SeriesInputs(
        series_id=series_id,
        key=SeriesKey(coin, Interval(interval)),
        expected=expected,
        present=present,
        empty=empty,
        longest_missing=longest,
        newest_closed_age_s=age_s,
        period_s=period_s,
        ended=ended,
        received=received[0] + present,
        bad=received[1] + bad,
        parents_compared=compared[0],
        parents_differing=compared[1],
        sampled=compared[0],
        sampled_differing=compared[2],
        above_compared=compared[3],
        above_differing=compared[4],
        mark_distance=mark_distance,
        grades={"final": final, "archive": archive, "derived": derived, "stream": stream, "open": still_open},
        revised=revised,
        oddities=oddities,
        missing_at_head=at_head,
        longest_missing_inside=longest_inside,
        missing_rejected=rejected,
    )
