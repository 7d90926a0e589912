from __future__ import annotations

from datetime import UTC, datetime

import pytest

from hl_pipeline.model.failure import BadAnswer, ExchangeUnavailable, RateLimited
from hl_pipeline.source.retry import Patience, retry_after_seconds

NOW = datetime(2026, 7, 25, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        (" 7 ", 7.0),
        ("0", 0.0),
        ("86400", 60.0),
        ("9" * 5000, 60.0),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("\uff17", None),
        ("Sat, 25 Jul 2026 12:00:30 GMT", 30.0),
        ("Sat, 25 Jul 2026 12:00:30", 30.0),
        ("Sat, 25 Jul 2026 11:00:00 GMT", 0.0),
        ("Sat, 25 Jul 2099 12:00:00 GMT", 60.0),
    ],
)
def test_retry_after_is_read_in_both_forms_and_clamped(header: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(header, NOW) == seconds


def test_pauses_grow_with_jitter_up_to_a_bound() -> None:
    patience = Patience(first_pause_s=1.0, longest_pause_s=6.0)
    for attempt, longest in [(1, 1.0), (2, 2.0), (3, 4.0), (4, 6.0), (9, 6.0)]:
        pauses = [patience.pause_after(BadAnswer("x"), attempt) for _ in range(50)]
        assert longest / 2 <= min(pauses) <= max(pauses) <= longest
        assert len(set(pauses)) > 1


def test_the_exchanges_own_wish_comes_first() -> None:
    patience = Patience()
    assert patience.pause_after(RateLimited("x", retry_after=3.0), 4) == 3.0
    assert patience.pause_after(RateLimited("x", retry_after=86_400.0), 1) == 60.0
    assert patience.pause_after(ExchangeUnavailable("x", retry_after=30.0), 1) == 30.0
    assert 2.5 <= patience.pause_after(RateLimited("x"), 1) <= 5.0
