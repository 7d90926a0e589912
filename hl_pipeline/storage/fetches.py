"""Provenance: one row a request, drawn before it is sent and completed when its rows are stored."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from hl_pipeline.model.answer import CandleRequest, Receipt, RejectedRow
from hl_pipeline.model.failure import PipelineError, RateLimited
from hl_pipeline.model.halt import Halted
from hl_pipeline.model.interval import to_datetime
from hl_pipeline.model.span import Span
from hl_pipeline.storage.engine import Connection
from hl_pipeline.storage.sql import query

#: Longer than the client's patience, its deadline and a landing together.
_ABANDONED_AFTER = timedelta(minutes=10)


def asked(
    connection: Connection,
    request_type: str,
    asked_ms: int,
    *,
    request: CandleRequest | None = None,
    coin: str | None = None,
    span: Span | None = None,
    lane: str = "live",
    run_id: str | None = None,
    endpoint: str = "",
) -> int:
    """Record that a request is about to be sent; the id orders answers by when they were asked for.

    ``coin`` and ``span`` (ms, half-open) describe a request that is not for candles.
    """
    if request is not None:
        coin, span = request.series.coin, Span(request.start_ms, request.end_ms)
    row = connection.execute(
        query("fetch_asked"),
        {
            "endpoint": endpoint,
            "request_type": request_type,
            "coin": coin,
            "interval": str(request.series.interval) if request else None,
            "window_start": to_datetime(span.start_ms) if span else None,
            "window_end": to_datetime(span.end_ms) if span else None,
            "lane": lane,
            "run_id": run_id,
            "asked_at": to_datetime(asked_ms),
        },
    ).fetchone()
    assert row is not None  # noqa: S101  # insert ... returning always gives its row
    return int(row[0])


def landed(
    connection: Connection, fetch_id: int, receipt: Receipt, *, rows: int, rejected: Sequence[RejectedRow] = ()
) -> None:
    """Complete the record, in the transaction that stores the rows; rows refused are kept with their rule."""
    connection.execute(
        query("fetch_landed"),
        {
            "fetch_id": fetch_id,
            "endpoint": receipt.endpoint,
            "rows": rows,
            "rejected": len(rejected),
            "weight": receipt.weight,
            "latency_ms": receipt.latency_ms,
            "sha256": receipt.sha256,
            "http_status": receipt.http_status,
            "retries": receipt.retries,
            "refused": receipt.refused,
        },
    )
    if rejected:
        connection.execute(
            query("rejected_rows_insert"),
            {
                "fetch_id": fetch_id,
                "positions": [row.position for row in rejected],
                "rules": [row.rule for row in rejected],
                "values": [row.value for row in rejected],
                "payloads": [row.payload for row in rejected],
            },
        )


def failed(connection: Connection, fetch_id: int, error: PipelineError | Halted) -> None:
    """Record that the request got no answer that could be used, and why."""
    refused = int(isinstance(error, RateLimited))
    connection.execute(query("fetch_failed"), {"fetch_id": fetch_id, "error": str(error), "refused": refused})


def close_abandoned(connection: Connection) -> int:
    """Close the records that a killed process left, ten minutes after; returns how many.

    One that is answered after all becomes landed, for whoever lands it has waited that long.
    """
    return connection.execute(query("fetch_abandoned"), {"after": _ABANDONED_AFTER}).rowcount


def unanswered(connection: Connection, now_ms: int, *, count: int, lately_ms: int) -> str | None:
    """The newest error, when the newest ``count`` candle requests all failed, one of them in the last ``lately_ms``.

    Null when one was answered, when there were fewer, or when they are long ago (market time).
    """
    row = connection.execute(
        query("fetch_unanswered"),
        {"count": count, "now": to_datetime(now_ms), "lately": timedelta(milliseconds=lately_ms)},
    ).fetchone()
    return None if row is None else str(row[0])
