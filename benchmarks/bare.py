"""The reference: HTTP + COPY + upsert on two connections, nothing else. No ledger, no checks, no provenance."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx
import msgspec
import psycopg

from benchmarks.workload import NOW_MS, Workload
from hl_pipeline.model.candle import SeriesKey

TABLE = """
create table bare (coin text, interval text, t bigint, o numeric, h numeric, l numeric, c numeric, v numeric, n integer,
                   primary key (coin, interval, t))
"""
STAGING = "create temp table staging (like bare) on commit delete rows"
COPY = "copy staging from stdin"
UPSERT = """
insert into bare select * from staging order by coin, interval, t
on conflict (coin, interval, t) do update
set o = excluded.o, h = excluded.h, l = excluded.l, c = excluded.c, v = excluded.v, n = excluded.n
"""


class Row(msgspec.Struct):
    """A candle on the wire, in the shortest words."""

    t: int
    s: str
    i: str
    o: str
    h: str
    l: str  # noqa: E741  # the wire's own name
    c: str
    v: str
    n: int


def run(workload: Workload, database_url: str) -> int:
    """Fetch and store the whole workload; returns rows received."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(TABLE)
    halves = [workload.series[0::2], workload.series[1::2]]
    with ThreadPoolExecutor(2) as pool:
        return sum(pool.map(lambda half: _work(workload.url, database_url, half), halves))


def _work(url: str, database_url: str, series: tuple[SeriesKey, ...]) -> int:
    decoder = msgspec.json.Decoder(list[Row])
    received = 0
    with httpx.Client(base_url=url, trust_env=False, timeout=30) as client, psycopg.connect(database_url) as connection:
        connection.execute(STAGING)
        connection.commit()
        for coin, interval in series:
            asked = {"coin": coin, "interval": interval, "startTime": 0, "endTime": NOW_MS}
            rows = decoder.decode(client.post("/info", json={"type": "candleSnapshot", "req": asked}).content)
            with connection.cursor().copy(COPY) as copy:
                copy.write("".join([f"{r.s}\t{r.i}\t{r.t}\t{r.o}\t{r.h}\t{r.l}\t{r.c}\t{r.v}\t{r.n}\n" for r in rows]))
            connection.execute(UPSERT)
            connection.commit()
            received += len(rows)
    return received
