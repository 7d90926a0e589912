from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from hl_pipeline.model.candle import SeriesKey
from hl_pipeline.model.forecast import NOTHING_TO_HAVE, Forecast, Pace, Settled, Source, forecast, unknown_series
from hl_pipeline.model.interval import Interval, to_ms
from hl_pipeline.model.ledger import Gap, GapReason, ProofPolicy, SeriesState
from hl_pipeline.model.month import months_in
from hl_pipeline.model.plan import plan
from hl_pipeline.model.span import Span

POLICY = ProofPolicy()


def at(text: str) -> int:
    return to_ms(datetime.fromisoformat(text).replace(tzinfo=UTC))


#: A few seconds past noon.
NOW = at("2026-11-20T12:00:20")
QUARTER = Span(at("2026-08-01"), at("2026-12-01"))


def fresh(interval: Interval) -> SeriesState:
    return unknown_series(1, SeriesKey("BTC", interval), NOW)


def forecast_of(state: SeriesState, window: Span = QUARTER) -> Forecast:
    return forecast([state], NOW, POLICY, window=window, months=months_in(window))


def sources(made: Forecast) -> list[Source]:
    return [month.source for month in made.months]


def test_it_asks_what_the_plan_asks() -> None:
    made = forecast_of(fresh(Interval.H1))
    requests = plan([fresh(Interval.H1)], NOW, POLICY, window=QUARTER)
    assert (made.calls, made.weight) == (len(requests), sum(request.weight for request in requests)) == (1, 65)
    assert made.rows == requests[0].request.slots
    assert sum(month.wanted for month in made.months) == (NOW - QUARTER.start_ms) // Interval.H1.milliseconds
    assert sources(made) == [Source.REACHABLE] * 4


def test_months_beyond_the_exchange_s_memory_are_named_and_cost_nothing() -> None:
    made = forecast_of(fresh(Interval.M1))
    assert sources(made) == [Source.GONE, Source.GONE, Source.GONE, Source.PARTLY_GONE]
    assert [month.wanted for month in made.nothing_to_have] == [0, 0, 0]
    assert made.months[0].story == "source gone: the exchange keeps the newest 5,000 candles, 1m since 2026-11-17 00:41"
    assert made.months[3].story == "4,999 slots to ask for; those before 2026-11-17 00:41 are gone"
    assert made.calls == 1
    assert made.weight == 104


def test_a_month_that_has_not_begun_or_has_no_closed_slot_yet_is_not_gone() -> None:
    december = Span(at("2026-12-01"), at("2027-01-01"))
    assert sources(forecast_of(fresh(Interval.D1), december)) == [Source.NOT_YET]


def answered(interval: Interval, *, until: int = NOW) -> SeriesState:
    """A series that has been read to ``until`` without a hole."""
    return replace(fresh(interval), known_until_ms=interval.floor(until), has_history=True)


def test_what_is_settled_is_not_asked_for_again() -> None:
    made = forecast_of(answered(Interval.H1))
    assert (made.calls, made.weight, made.rows) == (0, 0, 0)
    assert sources(made) == [Source.HELD] * 4
    assert not NOTHING_TO_HAVE & {Source.HELD}


def test_a_month_that_was_reachable_only_in_part_says_from_where_on_it_is_settled() -> None:
    tracked = replace(answered(Interval.H1), tracked_from_ms=at("2026-10-10"))
    made = forecast_of(tracked)
    assert made.months[2].story == (
        "nothing to ask for: what is due is settled since 2026-10-10 00:00, what was before is gone"
    )
    assert made.months[3].story == "nothing to ask for: what is due is settled"


def test_only_a_hole_is_asked_for() -> None:
    hole = Span(at("2026-09-10T00:00"), at("2026-09-10T05:00"))
    made = forecast_of(replace(answered(Interval.H1), gaps=(Gap(hole, GapReason.FAILED, NOW),)))
    assert [month.wanted for month in made.months] == [0, 5, 0, 0]
    assert (made.calls, made.rows) == (1, 5 + 2 * 15)


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({"first_open_ms": at("2026-10-05")}, [Source.BEFORE_LISTING] * 2 + [Source.HELD] * 2),
        ({"ended_ms": at("2026-09-20")}, [Source.HELD] * 2 + [Source.AFTER_DELISTING] * 2),
        ({"tracked_from_ms": at("2026-10-01")}, [Source.GONE] * 2 + [Source.HELD] * 2),
    ],
)
def test_a_month_outside_the_market_s_life_or_before_tracking_says_so(
    known: dict[str, int], expected: list[Source]
) -> None:
    assert sources(forecast_of(replace(answered(Interval.H1), **known))) == expected  # type: ignore[arg-type]


def test_rows_and_weight_follow_the_share_of_slots_that_had_a_row() -> None:
    dense, sparse = (
        forecast([fresh(Interval.M1)], NOW, POLICY, window=QUARTER, months=[], ledger=ledger)
        for ledger in ({}, {(1, at("2026-10-01")): Settled(final=300, empty=300)})
    )
    assert (sparse.rows, sparse.weight) == (dense.rows // 2, 20 + 42)


def test_a_month_that_was_lost_while_tracked_is_gone() -> None:
    state = answered(Interval.H1)
    lost = {(1, at("2026-09-01")): Settled(lost=720), (1, at("2026-10-01")): Settled(final=700, lost=44)}
    made = forecast([state], NOW, POLICY, window=QUARTER, months=months_in(QUARTER), ledger=lost)
    assert sources(made) == [Source.HELD, Source.GONE, Source.HELD, Source.HELD]
    assert "all its 720 slots were lost" in made.months[1].story


def test_the_time_it_takes_runs_from_the_whole_budget_to_the_lane_s_floor() -> None:
    pace = Pace(budget=1164, live=164, floor=58)
    assert pace.minutes(58_000) == pytest.approx((49.83, 58.0, 1000.0), abs=0.01)
    assert Pace(budget=100, live=99, floor=5).minutes(100)[1] == 20, "never below the floor"
