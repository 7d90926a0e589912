from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hl_pipeline.model.candle import SeriesKey
from hl_pipeline.model.interval import Interval
from hl_pipeline.model.ledger import GapReason
from hl_pipeline.model.open_gap import OpenGap, recoverable, time_left
from hl_pipeline.model.span import Span

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000


@pytest.mark.parametrize(
    ("milliseconds", "said"),
    [
        (-1, "none"),
        (0, "none"),
        (1, "under 1 min"),
        (MINUTE - 1, "under 1 min"),
        (MINUTE, "1 min"),
        (HOUR - 1, "59 min"),
        (HOUR, "1 h"),
        (HOUR + MINUTE, "1 h 1 min"),
        (DAY - 1, "23 h 59 min"),
        (DAY, "1 d"),
        (DAY + HOUR - 1, "1 d"),
        (2 * DAY + 4 * HOUR, "2 d 4 h"),
        (5000 * DAY, "5,000 d"),
    ],
)
def test_what_is_left_is_said_in_its_two_largest_units_rounded_down(milliseconds: int, said: str) -> None:
    assert time_left(milliseconds) == said


@pytest.mark.parametrize(
    ("now_ms", "said"),
    [
        (DAY - HOUR, "recoverable for 1 h"),
        (DAY - 1, "recoverable for under 1 min"),
        (DAY, "no longer recoverable"),
        (DAY + 1, "no longer recoverable"),
    ],
)
def test_at_its_deadline_a_slot_is_gone(now_ms: int, said: str) -> None:
    assert recoverable(DAY, now_ms) == said


@given(st.integers(min_value=1, max_value=6000 * DAY))
def test_no_more_is_promised_than_is_left_and_nearly_all_of_it(milliseconds: int) -> None:
    units = {"d": DAY, "h": HOUR, "min": MINUTE}
    words = time_left(milliseconds).replace(",", "").removeprefix("under ").split()
    promised = sum(int(count) * units[unit] for count, unit in zip(words[::2], words[1::2], strict=True))
    if milliseconds < MINUTE:
        assert promised == MINUTE
    else:
        assert 0 <= milliseconds - promised < (HOUR if milliseconds >= DAY else MINUTE)


def test_every_reason_has_words_of_its_own() -> None:
    key = SeriesKey("BTC", Interval.M1)
    words = [OpenGap(key, Span(0, MINUTE), 1, reason, 0, 0, 0).why for reason in GapReason]
    assert len(set(words)) == len(GapReason)
