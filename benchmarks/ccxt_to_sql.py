"""What most scripts do: a ccxt loop and DataFrame.to_sql, no key, no re-read."""

from __future__ import annotations

import ccxt
import pandas as pd
from sqlalchemy import create_engine

from benchmarks.workload import Workload


def run(workload: Workload, database_url: str) -> int:
    """Fetch and store the whole workload; returns rows received."""
    exchange = ccxt.hyperliquid(
        {
            "enableRateLimit": False,
            "urls": {"api": {"public": workload.url, "private": workload.url}},
            "options": {"fetchMarkets": {"types": ["swap"]}},
        }
    )
    engine = create_engine(database_url.replace("postgresql://", "postgresql+psycopg://"))
    received = 0
    for coin, interval in workload.series:
        rows = exchange.fetch_ohlcv(f"{coin}/USDC:USDC", str(interval), since=0, limit=5000)
        frame = pd.DataFrame(rows, columns=["t", "o", "h", "l", "c", "v"]).assign(coin=coin, interval=str(interval))
        frame.to_sql("ccxt_candle", engine, if_exists="append", index=False)
        received += len(rows)
    engine.dispose()
    return received
