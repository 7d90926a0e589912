"""Every streamed slot is read within the hour, those of one hour together, and each series at its own minute."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hl_pipeline.model.confirm import confirm_at
from hl_pipeline.model.interval import MINUTE_MS

HOUR = 60 * MINUTE_MS
SETTLE = 10_000
T0 = 1_785_067_200_000


@given(st.integers(1, 10_000), st.integers(0, 10_000))
def test_a_slot_is_confirmed_once_settled_and_at_most_an_hour_later(series_id: int, minute: int) -> None:
    close_ms = T0 + minute * MINUTE_MS
    at_ms = confirm_at(series_id, False, close_ms, every_ms=HOUR, settle_ms=SETTLE)
    assert close_ms + SETTLE <= at_ms < close_ms + SETTLE + HOUR


@given(st.integers(1, 10_000))
def test_the_slots_of_an_hour_share_one_read(series_id: int) -> None:
    reads = {
        confirm_at(series_id, False, T0 + minute * MINUTE_MS, every_ms=HOUR, settle_ms=SETTLE) for minute in range(600)
    }
    assert len(reads) in (10, 11)


def test_the_reads_of_many_series_are_spread_over_the_hour() -> None:
    reads = [confirm_at(series_id, False, T0, every_ms=HOUR, settle_ms=0) for series_id in range(1, 1381, 6)]
    by_five_minutes = [sum((at - T0) // (5 * MINUTE_MS) == part for at in reads) for part in range(12)]
    assert sum(by_five_minutes) == len(reads) == 230
    assert min(by_five_minutes) >= 10
    assert max(by_five_minutes) <= 30


@given(st.integers(1, 10_000), st.integers(0, 10_000))
def test_a_larger_slot_waits_for_its_minutes(series_id: int, minute: int) -> None:
    close_ms = T0 + minute * MINUTE_MS
    base_ms = confirm_at(series_id, False, close_ms, every_ms=HOUR, settle_ms=SETTLE)
    at_ms = confirm_at(series_id + 1, True, close_ms, every_ms=HOUR, settle_ms=SETTLE)
    assert base_ms + 5 * MINUTE_MS <= at_ms <= close_ms + SETTLE + HOUR + 35 * MINUTE_MS
