"""What an answer of the exchange changes about its markets, and what people read of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import pytest

from hl_pipeline.model.market import Market, MarketKind
from hl_pipeline.model.universe import Universe, choose
from hl_pipeline.storage import markets
from hl_pipeline.storage.engine import Connection, Database
from hl_pipeline.storage.markets import MarketChanges, MarketNews

NOON = 1_785_067_200_000
HOUR = 3_600_000


def universe(*coins: str, dex: str = "") -> list[Market]:
    """One dex's universe in this order; a dash stands for an entry that could not be read."""
    kind = MarketKind.BUILDER if dex else MarketKind.PERP
    return [Market(coin, kind, dex, 2, 5, False, place) for place, coin in enumerate(coins) if coin != "-"]


def spot(coin: str, index: int) -> Market:
    return Market(coin, MarketKind.SPOT, "", 2, None, False, index)


def look(
    connection: Connection,
    hour: int,
    found: Sequence[Market],
    *,
    dexes: Collection[str] = ("",),
    spot: bool = False,
    unreadable: Collection[int] = (),
) -> MarketChanges:
    return markets.upsert(connection, found, NOON + hour * HOUR, dexes=dexes, spot=spot, unreadable=unreadable)


def test_the_first_look_lists_everything_and_knows_that_this_is_no_news(database: Database) -> None:
    with database.connection() as connection:
        first = look(connection, 0, universe("BTC", "ETH"))
        assert (first.markets, first.knew_some, first.listed) == (2, False, ["BTC", "ETH"])
        second = look(connection, 1, universe("BTC", "ETH", "NEW"))
        assert (second.knew_some, second.listed, second.changed) == (True, ["NEW"], 0)
        assert [news.sentence for news in markets.news(connection, NOON - HOUR)] == ["NEW is listed"]


def test_who_is_not_in_an_asked_universe_is_absent_and_nobody_else(database: Database) -> None:
    everything = [*universe("BTC", "ETH"), *universe("xyz:TSLA", "xyz:GOLD", dex="xyz"), spot("@107", 107)]
    with database.connection() as connection:
        look(connection, 0, everything, dexes=("", "xyz"), spot=True)
        assert look(connection, 1, universe("BTC", "ETH")).absent == [], "neither xyz nor spot was asked for"
        third = look(connection, 2, [*universe("BTC"), *universe("xyz:TSLA", dex="xyz")], dexes=("", "xyz"), spot=True)
        assert third.absent == ["@107", "ETH", "xyz:GOLD"]
        assert look(connection, 3, universe("BTC")).absent == [], "once"
        assert look(connection, 4, universe("BTC", "ETH")).returned == ["ETH"]


def test_a_market_whose_entry_cannot_be_read_is_not_absent(database: Database) -> None:
    with database.connection() as connection:
        look(connection, 0, universe("BTC", "ETH", "SOL"))
        assert look(connection, 1, universe("BTC", "-", "SOL"), unreadable={1}).absent == []
        assert look(connection, 2, universe("BTC", "-", "SOL")).absent == ["ETH"]


def test_an_answer_older_than_the_last_look_makes_nobody_absent(database: Database) -> None:
    with database.connection() as connection:
        look(connection, 1, universe("BTC", "NEW"))
        assert look(connection, 0, universe("BTC")).absent == []


@pytest.mark.parametrize(
    ("after", "renamed"),
    [
        (["BTC", "POL", "ETH"], ["MATIC to POL"]),  # the same place, an unknown name
        (["BTC", "MATIC", "ETH", "POL"], []),  # delisted and listed anew, as MATIC was
        (["BTC", "ETH", "POL"], []),  # the place was taken by a known market
        (["BTC", "ETH", "MATIC"], []),  # only the order changed
        (["POL", "MATIC", "ETH"], ["BTC to POL"]),
    ],
)
def test_a_rename_is_an_unknown_name_in_the_place_of_one_that_is_gone(
    database: Database, after: list[str], renamed: list[str]
) -> None:
    with database.connection() as connection:
        look(connection, 0, universe("BTC", "MATIC", "ETH"))
        assert look(connection, 1, universe(*after)).renamed == renamed


def test_places_of_different_dexes_are_different_places(database: Database) -> None:
    with database.connection() as connection:
        look(
            connection, 0, [*universe("BTC", "MATIC"), *universe("xyz:TSLA", "xyz:GOLD", dex="xyz")], dexes=("", "xyz")
        )
        found = [*universe("BTC"), *universe("xyz:TSLA", "xyz:GOLD", "xyz:NEW", dex="xyz")]
        changes = look(connection, 1, found, dexes=("", "xyz"))
        assert (changes.absent, changes.listed, changes.renamed) == (["MATIC"], ["xyz:NEW"], [])


def test_a_spot_pairs_place_is_its_own_index(database: Database) -> None:
    with database.connection() as connection:
        look(connection, 0, [spot("PURR/USDC", 0), spot("@107", 107)], spot=True)
        changes = look(connection, 1, [spot("@107", 107), spot("CATS/USDC", 0)], spot=True)
        assert changes.renamed == ["PURR/USDC to CATS/USDC"]


def test_what_is_tracked_and_why_is_counted_and_told(database: Database) -> None:
    with database.connection() as connection:
        look(connection, 0, universe("BTC", "ETH", "SOL"))
        for hour, (chosen, named) in enumerate([(Universe.LIST, ["BTC"]), (Universe.ALL, ["ETH"])], start=1):
            now_ms = NOON + hour * HOUR
            markets.track(connection, choose(chosen, named, markets.standings(connection, {}), now_ms), now_ms)
        assert markets.counts(connection) == (1, 2, [])
        look(connection, 3, universe("BTC", "ETH"))
        assert markets.counts(connection).absent == ["SOL"]
        assert sorted(news.sentence for news in markets.news(connection, NOON + HOUR)) == [
            "BTC is collected: by HL_UNIVERSE",
            "ETH is collected: named in HL_MARKETS",
            "SOL is collected: by HL_UNIVERSE",
            "SOL is named no more by the exchange, without being delisted",
        ]


@pytest.mark.parametrize(
    ("attribute", "old", "new", "told"),
    [
        ("is_delisted", "false", "true", "BTC is delisted"),
        ("is_delisted", "true", "false", "BTC is listed again"),
        ("is_absent", "true", "false", "BTC is named again by the exchange"),
        ("renamed_to", "BTC", "BIT", "BTC has another name now: BIT; they stay two markets"),
        ("tracked_by", "list", None, "BTC is collected no more; what is stored stays"),
        ("out_of_reach_1m", "a", "b", "BTC 1m begins anew: nothing is expected from a to b"),
    ],
)
def test_every_change_has_a_sentence(attribute: str, old: str, new: str | None, told: str) -> None:
    assert MarketNews(NOON, "BTC", attribute, old, new).sentence == told
