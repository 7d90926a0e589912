"""What each suite lets pass and what it catches; Great Expectations really runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pandas as pd
import pytest

from hl_pipeline.health.expectations import Expected
from hl_pipeline.health.suites import (
    candles_keep_their_contract,
    contexts_keep_their_contract,
    funding_keeps_its_contract,
    markets_keep_their_contract,
    metrics_keep_their_contract,
)
from hl_pipeline.model.interval import to_ms

START = datetime(2026, 3, 1, tzinfo=UTC)
NOW = START + timedelta(hours=1)
NOW_MS = to_ms(NOW)
Frame = Callable[[], pd.DataFrame]


def candles() -> pd.DataFrame:
    rows = [
        ("BTC", "1m", START + timedelta(minutes=i), *map(Decimal, ("100", "101", "99", "100.5", "3")), 4, "f")
        for i in range(20)
    ]
    return pd.DataFrame(
        rows, columns=["coin", "interval", "open_time", "open", "high", "low", "close", "volume", "trades", "finality"]
    )


def markets() -> pd.DataFrame:
    seen = NOW - timedelta(minutes=20)
    rows = [
        ("BTC", "perp", "", 5, 40, False, True, "list", 1, START, seen, None, None),
        ("@107", "spot", "", 2, None, False, False, None, None, START, seen, None, None),
        ("xyz:TSLA", "builder", "xyz", 3, 10, False, True, "list", None, START, seen, None, None),
        ("MATIC", "perp", "", 1, 20, True, False, None, None, START, seen, START, None),
    ]
    columns = [
        "coin", "kind", "dex", "sz_decimals", "max_leverage", "is_delisted", "tracked", "tracked_by", "volume_rank",
        "first_seen", "last_seen", "delisted_seen", "absent_since",
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def contexts() -> pd.DataFrame:
    prices = ("100", "100.1", "99.9", "95", "0.0000125", "0.0001", "10", "1000", "10")
    rows: list[tuple[Any, ...]] = [
        ("BTC", "perp", False, NOW - timedelta(minutes=5 - i), *map(Decimal, prices)) for i in range(5)
    ]
    rows.append(("MATIC", "perp", True, START - timedelta(hours=20), *map(Decimal, ("1", "1")), None, Decimal("1"),
                 Decimal("0"), None, Decimal("0"), Decimal("0"), Decimal("0")))  # fmt: skip
    columns = [
        "coin", "kind", "is_delisted", "seen_at", "mark_price", "oracle_price", "mid_price", "previous_day_price",
        "funding", "premium", "open_interest", "day_notional_volume", "day_base_volume",
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def funding() -> pd.DataFrame:
    times = [START - timedelta(hours=10 - i) + timedelta(milliseconds=48 + i) for i in range(10)]
    times[4] += timedelta(seconds=1_433)  # the latest that was ever seen
    rows = [
        ("BTC", at, Decimal("0.0000125"), Decimal("-0.0002"), before)
        for at, before in zip(times, [None, *times], strict=False)
    ]
    return pd.DataFrame(rows, columns=["coin", "time", "rate", "premium", "previous"])


def metrics() -> pd.DataFrame:
    at = NOW - timedelta(minutes=1)
    rows = [
        ("BTC", "last", Decimal(1), "quote", at, "1m", 0.9, False),
        ("BTC", "close_1d", Decimal(1), "quote", NOW - timedelta(hours=23), "1d", 0.9, False),
        ("BTC", "funding", Decimal("-0.0001"), "per hour", at, "context", 0.9, False),
        ("BTC", "change_24h", Decimal("-0.2"), "ratio", at, "1m", 0.9, False),
        ("MATIC", "mark", Decimal(1), "quote", START - timedelta(days=9), "context", 0.4, True),
        ("MATIC", "volume_24h_notional", Decimal(0), "quote", START - timedelta(days=9), "context", 0.4, True),
    ]
    return pd.DataFrame(
        rows, columns=["coin", "metric", "value", "unit", "as_of", "source", "confidence", "is_delisted"]
    )


def judged_candles(frame: pd.DataFrame) -> list[Expected]:
    return candles_keep_their_contract(frame, NOW_MS)


def judged_markets(frame: pd.DataFrame) -> list[Expected]:
    return markets_keep_their_contract(frame, NOW_MS)


def judged_contexts(frame: pd.DataFrame) -> list[Expected]:
    return contexts_keep_their_contract(frame, NOW_MS, 300.0)


def judged_funding(frame: pd.DataFrame) -> list[Expected]:
    return funding_keeps_its_contract(frame, NOW_MS)


def judged_metrics(frame: pd.DataFrame) -> list[Expected]:
    return metrics_keep_their_contract(frame, NOW_MS, 300.0)


SUITES: Sequence[tuple[Frame, Callable[[pd.DataFrame], list[Expected]], int]] = [
    (candles, judged_candles, 15),
    (markets, judged_markets, 14),
    (contexts, judged_contexts, 15),
    (funding, judged_funding, 8),
    (metrics, judged_metrics, 10),
]


@pytest.mark.parametrize(("frame", "judge", "rules"), SUITES, ids=lambda value: getattr(value, "__name__", ""))
def test_sound_rows_meet_every_rule_and_the_frame_stays_as_it_is(
    frame: Frame, judge: Callable[[pd.DataFrame], list[Expected]], rules: int
) -> None:
    given = frame()
    found = judge(given)
    assert [one.name for one in found if not one.passed] == []
    assert len(found) == rules
    assert json.dumps([asdict(one) for one in found])
    pd.testing.assert_frame_equal(given, frame())


def broken_by(
    frame: Frame, judge: Callable[[pd.DataFrame], list[Expected]], row: int, column: str, value: Any
) -> dict[str, Expected]:
    given = frame().astype({column: object})
    given.at[row, column] = value
    if isinstance(value, datetime):
        given[column] = pd.to_datetime(given[column], utc=True)
    return {one.name: one for one in judge(given) if not one.passed}


@pytest.mark.parametrize(
    ("frame", "judge", "row", "column", "value", "broken", "severity"),
    [
        (candles, judged_candles, 3, "low", Decimal("100.2"), "low_is_lowest", "error"),
        (candles, judged_candles, 3, "high", Decimal("100.2"), "high_is_highest", "error"),
        (candles, judged_candles, 3, "low", Decimal(0), "prices_are_positive", "error"),
        (candles, judged_candles, 3, "interval", "7m", "intervals_are_known", "error"),
        (candles, judged_candles, 3, "open_time", START + timedelta(seconds=181), "opens_lie_on_the_grid", "error"),
        (candles, judged_candles, 3, "open_time", START + timedelta(minutes=4), "one_row_a_slot", "error"),
        (candles, judged_candles, 3, "open_time", NOW + timedelta(minutes=4), "none_opens_in_the_future", "error"),
        (candles, judged_candles, 3, "open_time", NOW, "none_is_final_before_its_close", "error"),
        (candles, judged_candles, 3, "volume", Decimal(-1), "volume_is_not_negative", "error"),
        (candles, judged_candles, 3, "volume", Decimal(0), "trades_bring_volume", "error"),
        (candles, judged_candles, 3, "trades", 0, "volume_needs_trades", "error"),
        (candles, judged_candles, 3, "trades", 2.5, "trades_are_whole_numbers", "error"),
        (candles, judged_candles, 3, "trades", -2, "trades_are_not_negative", "error"),
        (candles, judged_candles, 3, "coin", None, "candles_have_a_coin", "error"),
        (candles, judged_candles, 3, "high", Decimal(160), "prices_stay_within_half_in_one_candle", "warning"),
        (markets, judged_markets, 1, "coin", "BTC", "one_row_a_coin", "error"),
        (markets, judged_markets, 0, "coin", None, "markets_have_a_coin", "error"),
        (markets, judged_markets, 0, "kind", "option", "kinds_are_known", "error"),
        (markets, judged_markets, 2, "dex", "abc", "builder_markets_are_named_by_their_dex", "error"),
        (markets, judged_markets, 0, "sz_decimals", -1, "size_decimals_are_not_negative", "error"),
        (markets, judged_markets, 0, "sz_decimals", 7, "size_decimals_leave_room_for_the_price", "warning"),
        (markets, judged_markets, 0, "max_leverage", None, "leverage_is_offered_where_there_is_margin", "error"),
        (markets, judged_markets, 0, "max_leverage", 101, "leverage_is_at_most_100", "warning"),
        (markets, judged_markets, 1, "max_leverage", 3, "spot_has_no_leverage", "error"),
        (markets, judged_markets, 0, "volume_rank", 0, "ranks_begin_at_one", "error"),
        (markets, judged_markets, 0, "first_seen", NOW, "last_seen_is_not_before_first_seen", "error"),
        (markets, judged_markets, 3, "delisted_seen", None, "delistings_are_dated", "error"),
        (markets, judged_markets, 0, "tracked_by", None, "tracked_markets_say_why", "error"),
        (markets, judged_markets, 0, "last_seen", NOW - timedelta(hours=4), "tracked_markets_were_seen_lately",
         "warning"),
        (contexts, judged_contexts, 1, "seen_at", NOW - timedelta(minutes=5), "one_quote_a_market_and_instant",
         "error"),
        (contexts, judged_contexts, 1, "mark_price", Decimal(0), "marks_are_positive", "error"),
        (contexts, judged_contexts, 1, "mid_price", Decimal(0), "mids_are_positive", "error"),
        (contexts, judged_contexts, 1, "oracle_price", None, "margined_markets_have_an_oracle_price", "error"),
        (contexts, judged_contexts, 1, "funding", None, "margined_markets_have_funding", "error"),
        (contexts, judged_contexts, 1, "funding", Decimal("-0.041"), "funding_is_within_the_cap", "error"),
        (contexts, judged_contexts, 1, "premium", Decimal(2), "premiums_are_below_one", "warning"),
        (contexts, judged_contexts, 1, "open_interest", Decimal(-1), "open_interest_is_not_negative", "error"),
        (contexts, judged_contexts, 1, "day_notional_volume", Decimal(-1), "day_volumes_are_not_negative", "error"),
        (contexts, judged_contexts, 1, "day_base_volume", Decimal(-1), "base_volumes_are_not_negative", "error"),
        (contexts, judged_contexts, 1, "previous_day_price", Decimal(-1), "prices_of_yesterday_are_not_negative",
         "error"),
        (contexts, judged_contexts, 1, "mid_price", Decimal(111), "mid_is_near_mark", "warning"),
        (contexts, judged_contexts, 1, "oracle_price", Decimal(80), "mark_is_near_oracle", "warning"),
        (contexts, judged_contexts, 4, "seen_at", NOW + timedelta(minutes=3), "none_is_quoted_in_the_future", "error"),
        (contexts, judged_contexts, 5, "is_delisted", False, "quotes_are_fresh", "warning"),
        (funding, judged_funding, 5, "time", START - timedelta(hours=10) + timedelta(milliseconds=48),
         "one_rate_a_market_and_instant", "error"),
        (funding, judged_funding, 5, "rate", None, "rates_have_a_value", "error"),
        (funding, judged_funding, 5, "rate", Decimal("0.05"), "rates_are_within_the_cap", "error"),
        (funding, judged_funding, 5, "premium", Decimal("-1.5"), "premiums_are_below_one", "warning"),
        (funding, judged_funding, 5, "time", START - timedelta(minutes=270), "rates_are_paid_on_the_hour", "warning"),
        (funding, judged_funding, 6, "previous", START - timedelta(minutes=245), "an_hour_has_one_rate", "error"),
        (funding, judged_funding, 6, "previous", START - timedelta(hours=7), "hours_follow_each_other", "warning"),
        (funding, judged_funding, 9, "time", NOW + timedelta(hours=1), "none_is_paid_in_the_future", "error"),
        (metrics, judged_metrics, 1, "metric", "last", "one_row_a_coin_and_metric", "error"),
        (metrics, judged_metrics, 0, "value", None, "metrics_have_a_value", "error"),
        (metrics, judged_metrics, 0, "unit", None, "metrics_have_a_unit", "error"),
        (metrics, judged_metrics, 0, "value", Decimal(-1), "only_funding_and_change_are_signed", "error"),
        (metrics, judged_metrics, 0, "value", Decimal(0), "prices_are_positive", "error"),
        (metrics, judged_metrics, 2, "value", Decimal("0.05"), "funding_is_within_the_cap", "error"),
        (metrics, judged_metrics, 0, "confidence", 1.2, "confidence_is_a_share", "error"),
        (metrics, judged_metrics, 0, "confidence", None, "metrics_carry_a_confidence", "warning"),
        (metrics, judged_metrics, 0, "as_of", NOW + timedelta(hours=1), "none_is_of_the_future", "error"),
        (metrics, judged_metrics, 0, "as_of", NOW - timedelta(hours=1), "metrics_are_fresh", "warning"),
    ],
)  # fmt: skip
def test_one_broken_row_is_named_with_its_rule_and_shown(
    frame: Frame,
    judge: Callable[[pd.DataFrame], list[Expected]],
    row: int,
    column: str,
    value: Any,
    broken: str,
    severity: str,
) -> None:
    found = broken_by(frame, judge, row, column, value)
    assert broken in found
    assert found[broken].severity == severity
    assert found[broken].unexpected_count >= 1
    assert 1 <= len(found[broken].rows) <= 10
    assert f"of {len(frame())} rows do not" in found[broken].sentence


def test_of_thousands_of_broken_rows_ten_are_shown() -> None:
    frame = pd.concat([candles()] * 100, ignore_index=True)
    slots = {one.name: one for one in judged_candles(frame)}["one_row_a_slot"]
    assert slots.unexpected_count == 2_000
    assert len(slots.rows) == 10
    assert slots.rows[0] == {"coin": "BTC", "interval": "1m", "open_time": "2026-03-01 00:00:00+00:00"}


def test_before_rates_were_hourly_they_may_be_eight_times_the_cap_and_eight_hours_apart() -> None:
    times = [datetime(2023, 5, 20, tzinfo=UTC) + timedelta(hours=8 * i) for i in range(4)]
    rows = [("BTC", at, Decimal("0.2"), None, before) for at, before in zip(times, [None, *times], strict=False)]
    frame = pd.DataFrame(rows, columns=["coin", "time", "rate", "premium", "previous"])
    assert [one.name for one in judged_funding(frame) if not one.passed] == []
