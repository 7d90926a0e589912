from __future__ import annotations

import pytest

from hl_pipeline.health.funding import on_funding
from hl_pipeline.model.market import FundingProgress

NOW = 1_772_452_820_000
HOUR = 3_600_000


def read(
    coin: str,
    newest_ms: int | None,
    *,
    is_delisted: bool = False,
    read_ms: int | None = None,
    first_seen_ms: int = 0,
) -> FundingProgress:
    return FundingProgress(
        1, coin, is_delisted, newest_ms, False, newest_ms if read_ms is None else read_ms, first_seen_ms
    )


@pytest.mark.parametrize(("age_ms", "passed"), [(0, True), (2 * HOUR, True), (2 * HOUR + 1, False)])
def test_two_hours_are_fresh_and_a_millisecond_more_is_not(age_ms: int, passed: bool) -> None:
    found = on_funding(NOW, [read("BTC", NOW), read("ETH", NOW - age_ms)])
    assert found.passed is passed
    assert "bound: newest rate at most 7200 s old" in found.sentence
    assert ("Next: run the refresh_funding job" in found.sentence) is not passed


@pytest.mark.parametrize(("hours", "bound_s"), [(1, 7200), (2, 10_800), (7, 28_800)])
def test_the_bound_follows_the_time_between_two_reads(hours: int, bound_s: int) -> None:
    assert on_funding(NOW, [read("BTC", NOW - bound_s * 1000)], hours).passed
    late = on_funding(NOW, [read("BTC", NOW - bound_s * 1000 - 1)], hours)
    assert not late.passed
    assert f"at most {bound_s} s old" in late.sentence


def test_a_market_without_a_rate_is_behind() -> None:
    found = on_funding(NOW, [read("BTC", NOW), read("ETH", None)])
    assert not found.passed
    assert "1 of 2 listed markets are behind" in found.sentence
    assert ": ETH. Next:" in found.sentence


def test_a_history_that_is_being_read_on_is_not_behind_until_the_reading_stands_still() -> None:
    long_ago = NOW - 9000 * HOUR
    going_on = on_funding(NOW, [read("BTC", NOW), read("ETH", long_ago, read_ms=NOW - 2 * HOUR)])
    assert going_on.passed
    assert "1 more are being read on from their listing, the furthest at 2025-02-20" in going_on.sentence
    assert going_on.numbers["reading"] == 1
    stands = on_funding(NOW, [read("BTC", NOW), read("ETH", long_ago, read_ms=NOW - 2 * HOUR - 1)])
    assert not stands.passed
    assert "1 of 2 listed markets are behind" in stands.sentence


def test_a_market_that_was_read_to_its_end_has_two_hours_from_its_newest_rate_not_from_the_reading() -> None:
    assert not on_funding(NOW, [read("ETH", NOW - 2 * HOUR - 1, read_ms=NOW - HOUR - 1)]).passed


@pytest.mark.parametrize(("age_ms", "passed"), [(2 * HOUR, True), (2 * HOUR + 1, False)])
def test_a_market_just_listed_has_two_hours_for_its_first_rate(age_ms: int, passed: bool) -> None:
    assert on_funding(NOW, [read("NEW", None, first_seen_ms=NOW - age_ms)]).passed is passed


def test_nothing_new_is_expected_of_delisted_markets() -> None:
    assert on_funding(NOW, [read("BTC", NOW), read("OLD", 0, is_delisted=True)]).passed
    assert on_funding(NOW, [read("OLD", None, is_delisted=True)]).sentence == "no listed perpetual market is tracked"


def test_many_that_are_behind_are_counted_and_the_first_named() -> None:
    found = on_funding(NOW, [read(f"C{number:02}", None) for number in range(30)])
    assert "30 of 30" in found.sentence
    assert "C09, …" in found.sentence
    assert "C10" not in found.sentence
