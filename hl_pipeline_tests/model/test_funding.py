from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hl_pipeline.model.funding import (
    HOUR_MS,
    HOURLY_SINCE_MS,
    FundingMonth,
    hour_of,
    hours_between_reads,
    pages_an_hour,
    rates_due,
)
from hl_pipeline.model.interval import to_ms


def at(text: str) -> int:
    return to_ms(datetime.fromisoformat(text).replace(tzinfo=UTC))


MAY, JUNE, JULY = at("2026-05-01"), at("2026-06-01"), at("2026-07-01")
HOURS = st.integers(HOURLY_SINCE_MS // HOUR_MS - 200, HOURLY_SINCE_MS // HOUR_MS + 200)


def month(**known: object) -> FundingMonth:
    usual: dict[str, object] = {
        "coin": "BTC", "month_ms": JUNE, "end_ms": JULY, "rows": 720, "content_hash": "ab",
        "first_hour": at("2023-05-12"), "newest_hour": JULY - HOUR_MS, "due_until": at("2026-08-01"),
        "is_read_to_end": False,
    }  # fmt: skip
    return FundingMonth(**{**usual, **known})  # type: ignore[arg-type]


@given(HOURS, HOURS)
def test_what_is_due_is_counted_hour_by_hour(start: int, end: int) -> None:
    counted = sum(hour * HOUR_MS >= HOURLY_SINCE_MS or hour % 8 == 0 for hour in range(start, end))
    assert rates_due(start * HOUR_MS, end * HOUR_MS) == counted


@pytest.mark.parametrize("late_ms", [-2_000, 0, 900, 24 * 60_000])
def test_a_late_or_early_rate_belongs_to_its_own_hour(late_ms: int) -> None:
    assert hour_of(at("2026-06-10T05:00") + late_ms) == at("2026-06-10T05:00")


def test_a_month_read_past_its_end_is_whole_and_sealed() -> None:
    read = month()
    assert (read.gap, read.due, read.never_sent) == (0, 720, 0)
    assert read.is_whole
    assert read.is_sealed
    assert read.story == "read to its end"


def test_a_rate_the_exchange_never_sent_is_named_and_keeps_no_month_open() -> None:
    assert month(rows=719).story == "read to its end; the exchange never sent 1 rates"
    assert month(rows=719).is_sealed


def test_a_month_not_read_to_its_end_has_a_gap() -> None:
    behind = month(rows=100, newest_hour=JUNE + 99 * HOUR_MS)
    assert (behind.gap, behind.is_whole) == (620, False)
    assert behind.story == "620 rates are due and not read yet"
    assert month(rows=0, newest_hour=None, first_hour=None).gap == 720


def test_the_month_under_way_is_whole_so_far_but_not_sealed() -> None:
    now = month(rows=240, newest_hour=JUNE + 239 * HOUR_MS, due_until=JUNE + 240 * HOUR_MS)
    assert now.is_whole
    assert not now.is_sealed


@pytest.mark.parametrize(
    ("known", "why"),
    [
        (
            {"month_ms": MAY, "end_ms": JUNE, "first_hour": JUNE + HOUR_MS},
            "before the first funding rate of BTC, 2026-06-01",
        ),
        ({"newest_hour": at("2026-05-20"), "is_read_to_end": True}, "after the last funding rate"),
        ({"newest_hour": at("2026-05-20"), "due_until": at("2026-05-20T01:00")}, "no rate of it is due yet"),
    ],
)
def test_a_month_that_cannot_be_had_says_why(known: dict[str, object], why: str) -> None:
    none = month(rows=0, **known)
    assert none.cannot_be_had
    assert not none.is_whole
    assert why in none.story


@pytest.mark.parametrize(("markets", "hours"), [(0, 1), (6, 1), (33, 1), (34, 2), (50, 2), (66, 2), (230, 7)])
def test_the_more_markets_the_rarer_each_is_read(markets: int, hours: int) -> None:
    assert hours_between_reads(markets, 698) == hours


@given(st.integers(0, 2000), st.integers(0, 100_000))
def test_reading_every_market_once_in_its_hours_costs_no_more_than_the_share(markets: int, hourly_weight: int) -> None:
    hours = hours_between_reads(markets, hourly_weight)
    assert markets <= hours * pages_an_hour(hourly_weight)
    assert hours == 1 or markets > (hours - 1) * pages_an_hour(hourly_weight)
    assert pages_an_hour(hourly_weight) * 21 <= max(21, hourly_weight)
