"""``python -m benchmarks.read_through``: 500 candles through ``hl_pipeline.read``, and straight from the exchange.

Both end as an Arrow table of the same values. The exchange is the sandbox on this machine, which answers at once: the
network that lies before the real one is not in its figures.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pyarrow as pa

from benchmarks import ours
from benchmarks.workload import NOW_MS, Workload
from hl_pipeline.collect.fill import FillPolicy, fill
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.interval import Interval
from hl_pipeline.model.universe import Universe
from hl_pipeline.read import Reader, about
from hl_pipeline.sandbox.process import SandboxProcess
from hl_pipeline.settings import Settings
from hl_pipeline.storage.embedded import OWN_DATABASE, EmbeddedPostgres
from hl_pipeline.storage.engine import Database

COIN = "BTC"
ROWS = 500
STEP_MS = Interval.M1.milliseconds
END_MS = Interval.M1.floor(NOW_MS)
START_MS = END_MS - ROWS * STEP_MS


class _Row(msgspec.Struct):
    """One candle as the exchange writes it; what is not read is not named."""

    t: int
    o: str
    h: str
    l: str  # noqa: E741  # the exchange's name
    c: str
    v: str
    n: int


_ROWS = msgspec.json.Decoder(list[_Row])


def main(arguments: list[str] | None = None) -> None:
    """Collect, measure both, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reads", type=int, default=1000)
    options = parser.parse_args(arguments)
    home = Path(tempfile.mkdtemp(prefix="hl-bench-read-"))
    sandbox = (
        "--manual-clock-ms", str(NOW_MS), "--history-days", "10", "--limiter", "off", "--instant",
        "--quiet-mode", "dense", "--prewarm", COIN,
    )  # fmt: skip
    try:
        with SandboxProcess(*sandbox) as exchange, EmbeddedPostgres(home) as server:
            print(_measured(exchange.url, server.dsn(OWN_DATABASE), options.reads))
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _measured(url: str, database_url: str, reads: int) -> str:
    with ours.opened(Workload(url, ()), database_url) as pipeline:
        fill(pipeline.source, pipeline.database, pipeline.clock, FillPolicy(), coins=[COIN], intervals=[Interval.M1])
    settings = Settings(venue="sandbox", endpoint=url, universe=Universe.LIST)
    with Database(database_url) as database, httpx.Client(base_url=url) as client:
        reader = Reader(settings, database=database, clock=ManualClock(NOW_MS))

        def read() -> pa.Table:
            return reader.candles(COIN, "1m", START_MS, END_MS)

        def ask() -> pa.Table:
            return _straight(client)

        assert about(read()).missing == 0
        assert read().drop_columns(["finality", "source"]).equals(ask()), "the two do not say the same"
        ours_s, theirs_s = _timed(read, reads), _timed(ask, reads)
    return "\n".join(
        [
            f"{ROWS} candles as an Arrow table, {reads} reads each, one after the other:",
            "",
            "| read | median ms | p99 ms |",
            "|---|---|---|",
            _line("hl_pipeline.read, with staleness, confidence and missing slots", ours_s),
            _line("candleSnapshot of the sandbox over HTTP, on loopback", theirs_s),
        ]
    )


def _straight(client: httpx.Client) -> pa.Table:
    """The same candles from the exchange, over a kept connection."""
    window = {"coin": COIN, "interval": "1m", "startTime": START_MS, "endTime": END_MS - 1}
    answer = client.post("/info", json={"type": "candleSnapshot", "req": window})
    rows = _ROWS.decode(answer.raise_for_status().content)
    columns: dict[str, pa.Array[Any]] = {
        "open_time": pa.array([row.t for row in rows], pa.int64()).cast(pa.timestamp("ms", "UTC")),
        "open": pa.array([row.o for row in rows]).cast(pa.float64()),
        "high": pa.array([row.h for row in rows]).cast(pa.float64()),
        "low": pa.array([row.l for row in rows]).cast(pa.float64()),
        "close": pa.array([row.c for row in rows]).cast(pa.float64()),
        "volume": pa.array([row.v for row in rows]).cast(pa.float64()),
        "trades": pa.array([row.n for row in rows], pa.int32()),
    }
    return pa.table(columns)


def _timed(read: Callable[[], pa.Table], reads: int) -> list[float]:
    seconds = []
    for number in range(reads + 20):  # the first ones open connections and fill caches
        began = time.perf_counter()
        rows = read().num_rows
        took = time.perf_counter() - began
        assert rows == ROWS
        if number >= 20:
            seconds.append(took)
    return seconds


def _line(name: str, seconds: list[float]) -> str:
    median, p99 = statistics.median(seconds), statistics.quantiles(seconds, n=100)[98]
    return f"| {name} | {1000 * median:.2f} | {1000 * p99:.2f} |"


if __name__ == "__main__":
    main()
