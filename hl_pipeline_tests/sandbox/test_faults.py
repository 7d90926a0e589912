from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from hl_pipeline.model.clock import ManualClock
from hl_pipeline.sandbox.exchange import Exchange
from hl_pipeline.sandbox.faults import Fault, FaultKind, FaultPlan
from hl_pipeline_tests.sandbox.worlds import NOW, ask, candle_body, candles, exchange, world

MINUTE = 60_000
FLOOR = NOW - NOW % MINUTE
HOUR = candle_body("BTC", "1m", FLOOR - 60 * MINUTE, FLOOR - 1)


def hour_of(there: Exchange) -> list[dict[str, Any]]:
    return candles(there, "BTC", "1m", FLOOR - 60 * MINUTE, FLOOR - 1)


def advance(there: Exchange, milliseconds: int) -> None:
    clock = there.world.clock
    assert isinstance(clock, ManualClock)
    clock.advance(milliseconds)


def test_late_slots_appear_at_their_instant_and_only_in_their_series() -> None:
    there = exchange()
    truth, opens = hour_of(there), [FLOOR - k * MINUTE for k in range(5, 15)]
    there.faults.late("BTC", "1m", opens, until_ms=NOW + 600_000)
    assert hour_of(there) == [row for row in truth if row["t"] not in opens]
    assert len(candles(there, "BTC", "5m", FLOOR - 60 * MINUTE, FLOOR - 1)) == 12
    assert len(candles(there, "SLOW", "1m", FLOOR - 60 * MINUTE, FLOOR - 1)) == 60
    advance(there, 600_000)
    assert hour_of(there) == truth


def test_a_revised_candle_shows_half_its_volume_until_it_is_put_right() -> None:
    there = exchange()
    truth = hour_of(there)
    there.faults.revised("BTC", "1m", [truth[10]["t"]], until_ms=NOW + MINUTE)
    first = hour_of(there)
    assert [i for i, row in enumerate(first) if row != truth[i]] == [10]
    assert Decimal(first[10]["v"]) == Decimal(truth[10]["v"]) / 2
    assert first[10]["n"] == truth[10]["n"] // 2
    advance(there, MINUTE)
    assert hour_of(there) == truth


def test_a_row_can_vanish_from_a_given_instant_on() -> None:
    there = exchange()
    truth = hour_of(there)
    there.faults.add(
        Fault(FaultKind.VANISHED, "BTC", "1m", opens_ms=(truth[3]["t"],), since_ms=NOW + 1, until_ms=NOW + 2)
    )
    assert hour_of(there) == truth
    advance(there, 1)
    assert hour_of(there) == truth[:3] + truth[4:]
    advance(there, 1)
    assert hour_of(there) == truth


def test_prices_can_be_off_until_they_are_put_right() -> None:
    there = exchange()
    truth = hour_of(there)
    slots = (truth[3]["t"], truth[4]["t"])
    there.faults.add(Fault(FaultKind.SHIFTED, "BTC", "1m", opens_ms=slots, until_ms=NOW + 1, amount=-500))
    shifted = hour_of(there)
    assert [i for i, row in enumerate(shifted) if row != truth[i]] == [3, 4]
    for name in "ohlc":
        assert abs(Decimal(shifted[3][name]) - Decimal(truth[3][name]) * 95 / 100) <= Decimal("0.5")
    assert (shifted[3]["v"], shifted[3]["n"]) == (truth[3]["v"], truth[3]["n"])
    advance(there, 1)
    assert hour_of(there) == truth


def test_shifted_candles_still_have_their_high_on_top() -> None:
    there = exchange()
    for amount in (-300, 7, 300):
        there.faults.clear()
        there.faults.add(Fault(FaultKind.SHIFTED, "SLOW", amount=amount))
        for row in candles(there, "SLOW", "1m", FLOOR - 600 * MINUTE, FLOOR - 1):
            o, h, low, c = (Decimal(row[name]) for name in "ohlc")
            assert low <= min(o, c) <= max(o, c) <= h


def test_a_frozen_feed_repeats_one_candle_whatever_part_of_it_is_asked_for() -> None:
    there = exchange()
    truth = hour_of(there)
    opens = tuple(row["t"] for row in truth[10:20])
    there.faults.add(Fault(FaultKind.FROZEN, "BTC", "1m", opens_ms=opens))
    frozen = hour_of(there)
    assert [i for i, row in enumerate(frozen) if row != truth[i]] == list(range(11, 20))
    assert {tuple(row[name] for name in "ohlcvn") for row in frozen[10:20]} == {
        tuple(truth[10][name] for name in "ohlcvn")
    }
    assert candles(there, "BTC", "1m", opens[5], opens[7]) == frozen[15:18]


def test_a_fault_that_could_not_be_shown_is_refused() -> None:
    with pytest.raises(ValueError, match="name one at least"):
        Fault(FaultKind.FROZEN, "BTC", "1m")
    with pytest.raises(ValueError, match="keeps prices above 0"):
        Fault(FaultKind.SHIFTED, amount=-10_000)


def test_a_burst_of_429_ends_after_its_count() -> None:
    there = exchange()
    there.faults.fail_next(FaultKind.RATE_LIMITED, 3)
    statuses = [ask(there, HOUR).status for _ in range(5)]
    assert statuses == [429, 429, 429, 200, 200]
    assert [entry.fault for entry in there.log.entries()] == ["429"] * 3 + ["", ""]
    assert there.log.weight() == 2 * 21


@pytest.mark.parametrize(
    ("kind", "status", "content_type", "start"),
    [
        (FaultKind.SERVER_ERROR, 500, "application/json", b"null"),
        (FaultKind.BAD_GATEWAY, 502, "text/html", b"<html>"),
        (FaultKind.UNAVAILABLE, 503, "text/html", b"<html>"),
        (FaultKind.HTML, 200, "text/html", b"<html>"),
        (FaultKind.NULL, 200, "application/json", b"null"),
        (FaultKind.OBJECT, 200, "application/json", b"{}"),
        (FaultKind.EMPTY, 200, "application/json", b"[]"),
    ],
)
def test_an_answer_can_be_replaced(kind: FaultKind, status: int, content_type: str, start: bytes) -> None:
    there = exchange()
    there.faults.fail_next(kind)
    answer = ask(there, HOUR)
    assert (answer.status, answer.content_type) == (status, content_type)
    assert answer.body.startswith(start)
    assert ask(there, HOUR).status == 200


def test_truncated_json_is_a_200_that_cannot_be_read() -> None:
    there = exchange()
    there.faults.fail_next(FaultKind.TRUNCATED)
    answer = ask(there, HOUR)
    assert answer.status == 200
    with pytest.raises(json.JSONDecodeError):
        json.loads(answer.body)


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (FaultKind.NAN, "c", "NaN"),
        (FaultKind.UNDERSCORE, "o", "1_0"),
        (FaultKind.WRONG_COIN, "s", "ETH"),
        (FaultKind.VOLUME_WITHOUT_TRADES, "n", 0),
    ],
)
def test_one_row_can_be_bad(kind: FaultKind, name: str, value: object) -> None:
    there = exchange()
    truth = hour_of(there)
    there.faults.add(Fault(kind, times=1))
    bad = hour_of(there)
    assert [i for i, row in enumerate(bad) if row != truth[i]] == [30]
    assert bad[30][name] == value
    assert hour_of(there) == truth


def test_a_row_can_be_off_the_grid_or_have_its_high_below_its_low() -> None:
    there = exchange()
    slot = hour_of(there)[7]["t"]
    there.faults.add(
        Fault(FaultKind.OFF_GRID, opens_ms=(slot,), times=1), Fault(FaultKind.HIGH_BELOW_LOW, opens_ms=(slot,), times=1)
    )
    bad = hour_of(there)[7]
    assert bad["t"] % MINUTE != 0
    assert Decimal(bad["h"]) < Decimal(bad["l"])


def test_rows_can_be_repeated_and_out_of_order() -> None:
    there = exchange()
    truth = hour_of(there)
    there.faults.add(Fault(FaultKind.DUPLICATE, times=1))
    assert hour_of(there) == [*truth[:31], *truth[30:]]
    there.faults.add(Fault(FaultKind.OUT_OF_ORDER, times=1))
    shuffled = hour_of(there)
    assert shuffled != truth
    assert sorted(shuffled, key=lambda row: int(row["t"])) == truth


def test_a_stale_exchange_lags_behind_its_clock() -> None:
    there = exchange()
    there.faults.add(Fault(FaultKind.STALE, amount=10 * MINUTE))
    rows = candles(there, "BTC", "1m", FLOOR - 60 * MINUTE, NOW)
    assert rows[-1]["t"] == FLOOR - 10 * MINUTE
    assert json.loads(ask(there, {"type": "exchangeStatus"}).body)["time"] == NOW - 10 * MINUTE


def test_an_outage_holds_for_its_window_only() -> None:
    there = exchange()
    there.faults.outage(NOW + MINUTE, NOW + 2 * MINUTE)
    assert ask(there, HOUR).status == 200
    advance(there, MINUTE)
    assert ask(there, HOUR).status == ask(there, {"type": "meta"}).status == 502
    advance(there, MINUTE)
    assert ask(there, HOUR).status == 200


def test_filters_narrow_a_fault_down() -> None:
    there = exchange()
    there.faults.add(Fault(FaultKind.SERVER_ERROR, coin="BTC", interval="5m"))
    assert ask(there, HOUR).status == 200
    assert ask(there, candle_body("SLOW", "5m", 0, None)).status == 200
    assert ask(there, candle_body("BTC", "5m", 0, None)).status == 500
    there.faults.clear()
    there.faults.fail_next(FaultKind.SERVER_ERROR, request="meta")
    assert [ask(there, {"type": kind}).status for kind in ("allMids", "meta", "meta")] == [200, 500, 200]


def test_the_same_seed_gives_the_same_misfortunes() -> None:
    def statuses(seed: int) -> list[str]:
        there = exchange(world(), faults=FaultPlan.seeded(seed, 0.5))
        for _ in range(60):
            ask(there, HOUR)
        return [entry.fault for entry in there.log.entries()]

    assert statuses(3) == statuses(3)
    assert statuses(3) != statuses(4)
    assert 10 < sum(bool(fault) for fault in statuses(3)) < 50


def test_a_fault_can_be_ended_by_its_number() -> None:
    plan = FaultPlan()
    one, two = plan.add(Fault(FaultKind.NULL), Fault(FaultKind.HTML))
    plan.remove(one)
    plan.remove(one)
    assert list(plan.in_force()) == [two]
