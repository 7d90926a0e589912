"""The period follows from the markets and the live lane's share of the weight."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hl_pipeline.model.interval import to_datetime
from hl_pipeline.runtime import BUDGET_SHARE, collect_period_ms, live_weight
from hl_pipeline.settings import Settings
from hl_pipeline.storage import markets
from hl_pipeline.storage.engine import Database
from hl_pipeline.storage.markets import Cadence

MINUTE = 60_000
NOW_MS = 1_785_067_200_000
#: All but the floors of the gap and the back-fill lane.
LIVE_PERCENT = 85


@pytest.mark.parametrize(
    ("count", "minutes"), [(0, 1), (6, 1), (40, 1), (41, 2), (50, 2), (81, 2), (82, 3), (100, 3), (230, 6)]
)
def test_the_period_stretches_with_the_markets(count: int, minutes: int) -> None:
    assert collect_period_ms(Settings(), Cadence(count, LIVE_PERCENT)) == minutes * MINUTE


@pytest.mark.parametrize(
    ("count", "seconds", "minutes"), [(6, 60, 1), (6, 61, 2), (50, 300, 5), (230, 300, 6), (230, 60, 6), (230, 900, 15)]
)
def test_the_setting_is_the_least_period(count: int, seconds: int, minutes: int) -> None:
    settings = Settings(period_seconds=seconds)
    assert collect_period_ms(settings, Cadence(count, LIVE_PERCENT)) == minutes * MINUTE


def test_with_every_market_the_live_edge_keeps_to_its_share() -> None:
    assert live_weight(Settings(), Cadence(230, LIVE_PERCENT)) == 923
    assert int(1200 * BUDGET_SHARE) * LIVE_PERCENT / 100 >= 923


@given(st.integers(0, 1000), st.integers(60, 5000))
def test_one_read_of_every_market_fits_into_the_live_lanes_share_and_one_minute_less_does_not(
    count: int, weight: int
) -> None:
    settings = Settings(weight_per_minute=weight)
    minutes, rest = divmod(collect_period_ms(settings, Cadence(count, LIVE_PERCENT)), MINUTE)
    share = int(weight * BUDGET_SHARE) * LIVE_PERCENT / 100
    assert rest == 0
    assert count * 24 + 20 <= minutes * share
    assert minutes == 1 or count * 24 + 20 > (minutes - 1) * share


def test_fifty_markets_at_two_minutes_leave_the_other_lanes_their_floors() -> None:
    assert live_weight(Settings(), Cadence(50, LIVE_PERCENT)) == (50 * 24 + 20) // 2


def test_the_database_knows_how_many_are_polled_and_the_floors_of_the_others(database: Database) -> None:
    with database.connection() as connection:
        assert markets.cadence(connection, NOW_MS) == (0, LIVE_PERCENT)
        connection.execute(
            "insert into hl.market (coin, kind, sz_decimals, tracked, is_delisted, first_seen, last_seen)"
            " values ('A', 'perp', 2, true, false, now(), now()), ('B', 'perp', 2, true, true, now(), now()),"
            " ('C', 'perp', 2, false, false, now(), now())"
        )
        assert markets.cadence(connection, NOW_MS) == (1, LIVE_PERCENT)


@pytest.mark.parametrize(("ago_ms", "polled"), [(60_000, 0), (180_000, 0), (180_001, 1)])
def test_what_the_stream_watches_is_not_polled_until_the_stream_falls_silent(
    database: Database, ago_ms: int, polled: int
) -> None:
    with database.connection() as connection:
        connection.execute(
            "insert into hl.market (coin, kind, sz_decimals, tracked, is_delisted, first_seen, last_seen)"
            " values ('A', 'perp', 2, true, false, now(), now())"
        )
        connection.execute(
            "insert into hl.series (market_id, interval, step, tracked_from, known_until, streamed_until)"
            " select market_id, '1m', interval '1 minute', now(), now(), %s from hl.market",
            (to_datetime(NOW_MS - ago_ms),),
        )
        assert markets.cadence(connection, NOW_MS).markets == polled
