from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hl_pipeline.health.reconciliation import PERIODS, on_reconciliation
from hl_pipeline.model.interval import Interval
from hl_pipeline.model.reconciliation import FIELDS, Mismatch, Reconciled

NOON = 1_767_268_800_000  # 2026-01-01T12:00:00Z
MADE = ("100", "101", "99", "100.5", "12.5", "40")
READ = Reconciled(Interval.H1, 6, read=200, derived=16, compared=180)
WRONG = Mismatch("BTC", Interval.H1, NOON, MADE, ("100", "101", "98", "100.5", "12.5", "41"))


def test_equal_sides_pass_and_say_how_many_were_compared() -> None:
    found = on_reconciliation(Interval.H1, READ)
    assert found.passed
    assert found.sentence.startswith("0 of 180 1h candles of 36 h differ")
    assert (found.numbers["read from the venue"], found.numbers["derived"]) == (200, 16)


def test_a_mismatch_warns_and_names_both_values_of_each_field() -> None:
    found = on_reconciliation(Interval.H1, replace(READ, differing=1, mismatches=[WRONG]))
    assert (found.passed, found.severity) == (False, "warning")
    assert "BTC 1h 2026-01-01 12:00 UTC: low 99 made, 98 read, trades 40 made, 41 read" in found.sentence
    assert "hl collect --again" in found.sentence


def test_a_derived_candle_that_the_venue_mended_is_a_mismatch_that_was_seen() -> None:
    found = on_reconciliation(Interval.H1, replace(READ, seen=[replace(WRONG, seen_ms=NOON)]))
    assert not found.passed
    assert "1 derived ones were mended" in found.sentence


@pytest.mark.parametrize("interval", list(PERIODS))
def test_where_nothing_could_be_compared_it_says_so(interval: Interval) -> None:
    alone = on_reconciliation(interval, None)
    assert alone.passed
    assert alone.sentence.startswith("nothing to compare: no tracked market has both")
    empty = on_reconciliation(interval, Reconciled(interval, 6, read=0, derived=432))
    assert not empty.passed
    assert "nothing could be compared" in empty.sentence
    assert "432 are derived" in empty.sentence


@given(st.decimals(0, 1_000_000_000, places=8), st.integers(-9, 9))
def test_volume_may_carry_float_noise_and_nothing_else_may(volume: object, ulps: int) -> None:
    noisy = f"{float(str(volume)) * (1 + ulps * 2.3e-16):.12f}"
    venue = ("100", "101", "99", "100.5", noisy, "40")
    made = (*MADE[:4], str(volume), MADE[5])
    differing = [found.field for found in Mismatch("BTC", Interval.H1, NOON, made, venue).differences]
    assert differing == []


@pytest.mark.parametrize("place", range(len(FIELDS)))
def test_each_field_is_compared(place: int) -> None:
    venue = [*MADE]
    venue[place] = str(float(MADE[place]) * (1 + 1e-6)) if FIELDS[place] != "trades" else "41"
    assert [found.field for found in Mismatch("BTC", Interval.H1, NOON, MADE, venue).differences] == [FIELDS[place]]
