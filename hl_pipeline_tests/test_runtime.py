"""The period follows from the markets and the live lane's share of the weight."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hl_pipeline.runtime import BUDGET_SHARE, collect_period_ms, live_weight
from hl_pipeline.settings import Settings
from hl_pipeline.storage import markets
from hl_pipeline.storage.engine import Database
from hl_pipeline.storage.markets import Cadence

MINUTE = 60_000
#: All but the floors of the gap and the back-fill lane.
LIVE_PERCENT = 85


@pytest.mark.parametrize(
    ("count", "minutes"), [(0, 1), (6, 1), (46, 1), (47, 2), (50, 2), (93, 2), (94, 3), (100, 3), (230, 5)]
)
def test_the_period_stretches_with_the_markets(count: int, minutes: int) -> None:
    assert collect_period_ms(Settings(), Cadence(count, LIVE_PERCENT)) == minutes * MINUTE


@pytest.mark.parametrize(
    ("count", "seconds", "minutes"), [(6, 60, 1), (6, 61, 2), (50, 300, 5), (230, 300, 5), (230, 60, 5), (230, 900, 15)]
)
def test_the_setting_is_the_least_period(count: int, seconds: int, minutes: int) -> None:
    settings = Settings(period_seconds=seconds)
    assert collect_period_ms(settings, Cadence(count, LIVE_PERCENT)) == minutes * MINUTE


def test_with_every_market_the_live_edge_keeps_to_its_share() -> None:
    assert live_weight(Settings(), Cadence(230, LIVE_PERCENT)) == 970
    assert int(1200 * BUDGET_SHARE) * LIVE_PERCENT / 100 >= 970


@given(st.integers(0, 1000), st.integers(60, 5000))
def test_one_read_of_every_market_fits_into_the_live_lanes_share_and_one_minute_less_does_not(
    count: int, weight: int
) -> None:
    settings = Settings(weight_per_minute=weight)
    minutes, rest = divmod(collect_period_ms(settings, Cadence(count, LIVE_PERCENT)), MINUTE)
    share = int(weight * BUDGET_SHARE) * LIVE_PERCENT / 100
    assert rest == 0
    assert count * 21 + 20 <= minutes * share
    assert minutes == 1 or count * 21 + 20 > (minutes - 1) * share


def test_fifty_markets_at_two_minutes_leave_the_other_lanes_their_floors() -> None:
    assert live_weight(Settings(), Cadence(50, LIVE_PERCENT)) == (50 * 21 + 20) // 2


def test_the_database_knows_how_many_are_polled_and_the_floors_of_the_others(database: Database) -> None:
    with database.connection() as connection:
        assert markets.cadence(connection) == (0, LIVE_PERCENT)
        connection.execute(
            "insert into hl.market (coin, kind, sz_decimals, tracked, is_delisted, first_seen, last_seen)"
            " values ('A', 'perp', 2, true, false, now(), now()), ('B', 'perp', 2, true, true, now(), now()),"
            " ('C', 'perp', 2, false, false, now(), now())"
        )
        assert markets.cadence(connection) == (1, LIVE_PERCENT)
