"""Tell people what happens to the markets they collect, and when it is over.

A listing is over with its first candles, a delisting when the last series has
ended, an absence when the exchange names the market again or it is collected
no more.
"""

from __future__ import annotations

from collections.abc import Collection

from hl_pipeline.model.universe import Standing
from hl_pipeline.notify.alerts import Alert, market_delisted, market_listed, markets_absent
from hl_pipeline.storage import alerts, markets
from hl_pipeline.storage.engine import Connection
from hl_pipeline.storage.markets import MarketChanges


def tell(
    connection: Connection,
    changes: MarketChanges,
    standings: Collection[Standing],
    tracked: Collection[str],
    now_ms: int,
) -> None:
    """Raise what ``changes`` and the absences of ``tracked`` markets are worth, resolve what is over."""
    collected = set(tracked)
    for alert in _news(changes, collected):
        alerts.raise_alert(connection, alert, now_ms)
    absent = sorted(standing.coin for standing in standings if standing.is_absent and standing.coin in collected)
    if absent:
        alerts.raise_alert(connection, markets_absent(absent), now_ms)
    else:
        alerts.resolve(connection, markets_absent([]).fingerprint, now_ms)
    for fingerprint in markets.news_over(connection):
        alerts.resolve(connection, fingerprint, now_ms)


def _news(changes: MarketChanges, collected: set[str]) -> list[Alert]:
    """In a database that knew no market before, every market is new, and none of that is news."""
    if not changes.knew_some:
        return []
    return [
        *(market_listed(coin) for coin in changes.listed if coin in collected),
        *(market_delisted(coin) for coin in changes.delisted if coin in collected),
    ]
