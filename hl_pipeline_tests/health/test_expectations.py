from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pandas as pd
import pytest

from hl_pipeline.health.expectations import candles_keep_their_contract, metrics_keep_their_contract


def candles() -> pd.DataFrame:
    start = datetime(2026, 3, 1, tzinfo=UTC)
    rows = [
        ("BTC", "1m", start + timedelta(minutes=i), *map(Decimal, ("100", "101", "99", "100.5", "3")), 4)
        for i in range(20)
    ]
    return pd.DataFrame(
        rows, columns=["coin", "interval", "open_time", "open", "high", "low", "close", "volume", "trades"]
    )


def test_sound_candles_meet_every_expectation() -> None:
    found = candles_keep_their_contract(candles())
    assert len(found) == 10
    assert [expected.name for expected in found if not expected.passed] == []
    assert json.dumps([asdict(expected) for expected in found])


@pytest.mark.parametrize(
    ("column", "value", "broken"),
    [
        ("low", Decimal("100.2"), "low_is_lowest"),
        ("high", Decimal("100.2"), "high_is_highest"),
        ("interval", "7m", "intervals_are_known"),
        ("open_time", datetime(2026, 3, 1, 0, 3, 1, tzinfo=UTC), "opens_lie_on_the_grid"),
        ("open_time", datetime(2026, 3, 1, 0, 4, tzinfo=UTC), "one_row_a_slot"),
        ("trades", 0, "volume_needs_trades"),
        ("coin", None, "candles_have_a_coin"),
    ],
)
def test_one_broken_row_is_named_with_a_sample(column: str, value: Any, broken: str) -> None:
    frame = candles().astype({column: object})
    frame.loc[3, column] = value
    if column == "open_time":
        frame["open_time"] = pd.to_datetime(frame["open_time"], utc=True)
    found = {expected.name: expected for expected in candles_keep_their_contract(frame)}
    assert not found[broken].passed
    assert found[broken].unexpected_count >= 1
    assert "Next:" in found[broken].sentence


def test_metrics_are_unique_and_trusted() -> None:
    frame = pd.DataFrame(
        [("BTC", "last", Decimal(1), 0.9), ("BTC", "funding", Decimal(-1), 0.9), ("BTC", "last", Decimal(2), None)],
        columns=["coin", "metric", "value", "confidence"],
    )
    broken = {expected.name for expected in metrics_keep_their_contract(frame) if not expected.passed}
    assert broken == {"one_row_a_coin_and_metric", "metrics_carry_a_confidence"}
