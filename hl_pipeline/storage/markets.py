"""Markets, the history of their changes, and what the exchange quotes for them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from decimal import Decimal
from typing import NamedTuple

from psycopg.types.json import Jsonb

from hl_pipeline.model.confirm import STREAM_PATIENCE_MS
from hl_pipeline.model.interval import to_datetime, to_ms
from hl_pipeline.model.market import Market, MarketContext
from hl_pipeline.model.universe import Choice, Standing, TrackedBy
from hl_pipeline.storage.engine import Connection
from hl_pipeline.storage.sql import query


class MarketChanges(NamedTuple):
    """What an upsert of the universe found: markets offered, attributes changed, and to which coins what happened.

    ``knew_some`` says that some of the offered markets were known before:
    without it every market counts as listed, and none of that is news.
    ``absent`` are no longer named by the exchange, ``returned`` are named
    again. ``relisted`` says when each was last seen delisted (ms UTC),
    ``renamed`` says ``OLD to NEW``.
    """

    markets: int
    changed: int
    knew_some: bool
    listed: list[str]
    delisted: list[str]
    relisted: dict[str, int]
    absent: list[str]
    returned: list[str]
    renamed: list[str]


class Tracked(NamedTuple):
    """The coins whose collection begins and ends with a choice."""

    begun: list[str]
    ended: list[str]


class Cadence(NamedTuple):
    """What the polling period follows from: markets at the live edge, percent of the weight that is the live lane's."""

    markets: int
    live_percent: int


class QuotesStanding(NamedTuple):
    """How many tracked, listed markets there are, how many have a fresh quote, and who has not.

    ``longest_without_ms`` is when the market was quoted last that has waited longest, ms UTC; null when one had no
    quote within a day, or there is no market.
    """

    markets: int
    fresh: int
    longest_without_ms: int | None
    late: list[str]


class MarketCounts(NamedTuple):
    """How many markets are collected by name and by the universe, and which of them the exchange names no more."""

    named: int
    by_universe: int
    absent: list[str]


class MarketNews(NamedTuple):
    """One change of one market at ``at_ms`` (ms UTC), as ``hl.market_history`` has it."""

    at_ms: int
    coin: str
    attribute: str
    old_value: str | None
    new_value: str | None

    @property
    def sentence(self) -> str:
        """What happened, for people."""
        old, new = self.old_value, self.new_value
        if self.attribute.startswith("out_of_reach_"):
            interval = self.attribute.removeprefix("out_of_reach_")
            return f"{self.coin} {interval} begins anew: nothing is expected from {old} to {new}"
        return (
            self.coin
            + {
                ("listed", new): " is listed",
                ("is_delisted", "true"): " is delisted",
                ("is_delisted", "false"): " is listed again",
                ("is_absent", "true"): " is named no more by the exchange, without being delisted",
                ("is_absent", "false"): " is named again by the exchange",
                ("renamed_to", new): f" has another name now: {new}; they stay two markets",
                ("tracked_by", "list"): " is collected: named in HL_MARKETS",
                ("tracked_by", "universe"): " is collected: by HL_UNIVERSE",
                ("tracked_by", None): " is collected no more; what is stored stays",
            }[self.attribute, new]
        )


def upsert(
    connection: Connection,
    markets: Sequence[Market],
    seen_ms: int,
    *,
    dexes: Collection[str] = ("",),
    spot: bool = False,
    unreadable: Collection[int] = (),
) -> MarketChanges:
    """Bring the markets up to date; every changed attribute leaves a row in ``market_history``.

    ``dexes`` and ``spot`` say which universes were asked for: who of them is
    not among ``markets`` is absent since now, unless it last stood at one of
    the ``unreadable`` places of its universe.
    """
    row = connection.execute(
        query("markets_upsert"),
        {
            "markets": Jsonb([asdict(market) for market in markets]),
            "seen_at": to_datetime(seen_ms),
            "dexes": list(dexes),
            "spot": spot,
            "unreadable": list(unreadable),
        },
    ).fetchone()
    assert row is not None  # noqa: S101  # a select of scalars gives one row
    return MarketChanges(*row)


def standings(connection: Connection, day_volumes: Mapping[str, Decimal]) -> list[Standing]:
    """Every market with its 24-hour notional volume, as far as ``day_volumes`` knows it."""
    return [
        Standing(
            coin=coin,
            is_perp=is_perp,
            is_delisted=is_delisted,
            is_absent=is_absent,
            day_volume=day_volumes.get(coin),
            tracked_by=None if tracked_by is None else TrackedBy(tracked_by),
            outside_since_ms=outside_since_ms,
        )
        for coin, is_perp, is_delisted, is_absent, tracked_by, outside_since_ms in connection.execute(
            query("markets_standings")
        )
    ]


def track(connection: Connection, choices: Sequence[Choice], seen_ms: int) -> Tracked:
    """Collect as chosen from now on; a market without a choice stays as it was."""
    since = [choice.outside_since_ms for choice in choices]
    row = connection.execute(
        query("markets_track"),
        {
            "coins": [choice.coin for choice in choices],
            "ranks": [choice.rank for choice in choices],
            "tracked_by": [choice.tracked_by and str(choice.tracked_by) for choice in choices],
            "outside_since": [None if at is None else to_datetime(at) for at in since],
            "seen_at": to_datetime(seen_ms),
        },
    ).fetchone()
    assert row is not None  # noqa: S101  # a select of scalars gives one row
    return Tracked(*row)


def unknown(connection: Connection, coins: Collection[str]) -> list[str]:
    """Which of the coins the exchange has never named."""
    return [row[0] for row in connection.execute(query("markets_unknown"), {"coins": list(coins)})]


def tracked(connection: Connection) -> list[str]:
    """The collected coins, those with the most volume first."""
    return [row[0] for row in connection.execute(query("markets_tracked"))]


def news_over(connection: Connection) -> list[str]:
    """Fingerprints of the open alerts on listings and delistings that need no more attention."""
    return [row[0] for row in connection.execute(query("market_news_over"))]


def counts(connection: Connection) -> MarketCounts:
    """Who is collected, and why."""
    row = connection.execute(query("market_counts")).fetchone()
    assert row is not None  # noqa: S101  # aggregates give one row
    return MarketCounts(*row)


def news(connection: Connection, since_ms: int, *, most: int = 20) -> list[MarketNews]:
    """What happened to markets after ``since_ms`` (ms UTC), the newest first, at most so many."""
    values = {"since": to_datetime(since_ms), "most": most}
    return [MarketNews(*row) for row in connection.execute(query("market_news"), values)]


def cadence(connection: Connection, now_ms: int) -> Cadence:
    """How many markets are polled at ``now_ms``, and on how much of the weight; the stream's markets are not."""
    values = {"now": to_datetime(now_ms), "stream_patience": timedelta(milliseconds=STREAM_PATIENCE_MS)}
    row = connection.execute(query("cadence"), values).fetchone()
    assert row is not None  # noqa: S101  # a select of scalars gives one row
    return Cadence(*row)


def streamed_contexts(connection: Connection, now_ms: int) -> int:
    """How many markets the live stream quotes at ``now_ms``; 0 unless each tracked, listed one has a young quote."""
    row = connection.execute(query("contexts_streamed"), {"now": to_datetime(now_ms)}).fetchone()
    return 0 if row is None or row[0] is None else int(row[0])


def quotes_standing(connection: Connection, now_ms: int, max_age_s: float) -> QuotesStanding:
    """How the quotes of the tracked, listed markets stand at ``now_ms``; older than ``max_age_s`` seconds is late."""
    values = {"now": to_datetime(now_ms), "since": to_datetime(now_ms - round(1000 * max_age_s))}
    row = connection.execute(query("contexts_standing"), values).fetchone()
    assert row is not None  # noqa: S101  # an aggregate without groups gives one row
    markets, fresh, longest_without, late = row
    return QuotesStanding(markets, fresh, None if longest_without is None else to_ms(longest_without), late)


def insert_contexts(
    connection: Connection,
    contexts: Sequence[MarketContext],
    seen_ms: int,
    *,
    fetch_id: int,
    tracked_only: bool = False,
) -> int:
    """Store one quote per market at ``seen_ms``; returns how many were stored. Its partition must exist."""
    return connection.execute(
        query("market_contexts_insert"),
        {
            "contexts": Jsonb([asdict(context) for context in contexts]),
            "seen_at": to_datetime(seen_ms),
            "fetch_id": fetch_id,
            "tracked_only": tracked_only,
        },
    ).rowcount
