from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hl_pipeline.model.candle import SeriesKey
from hl_pipeline.model.dead_letter import DeadLetter, FailureKind
from hl_pipeline.model.interval import Interval
from hl_pipeline.model.span import Span, SpanSet
from hl_pipeline.notify.alerts import failed_check, failed_run, fingerprint, slots_lost, window_died


@given(st.dictionaries(st.text(), st.text(), max_size=5), st.text())
def test_a_fingerprint_ignores_the_order_of_labels(labels: dict[str, str], rule: str) -> None:
    assert fingerprint(rule, labels) == fingerprint(rule, dict(reversed(labels.items())))


def test_other_labels_or_another_rule_are_another_incident() -> None:
    prints = {
        fingerprint("a", {"x": "1"}),
        fingerprint("a", {"x": "2"}),
        fingerprint("b", {"x": "1"}),
        fingerprint("a", {}),
    }
    assert len(prints) == 4


def test_runs_of_one_job_are_one_incident_whatever_they_say() -> None:
    assert failed_run("collect", "1" * 32, "a").fingerprint == failed_run("collect", "2" * 32, "b").fingerprint


def test_a_message_is_one_line_and_bounded() -> None:
    alert = failed_check("candles", "whole", "a\nb " + "x" * 2000, "do this")
    assert "\n" not in alert.summary
    assert len(alert.summary) < 600


def test_losses_of_one_series_are_one_incident_and_say_how_many_where_and_what_next() -> None:
    key = SeriesKey("BTC", Interval.M1)
    first = slots_lost(key, SpanSet.single(0, 180_000), 3)
    second = slots_lost(key, SpanSet.of([Span(240_000, 300_000), Span(600_000, 720_000)]), 6)
    assert first.fingerprint == second.fingerprint
    assert first.fingerprint != slots_lost(SeriesKey("BTC", Interval.M5), SpanSet.single(0, 300_000), 1).fingerprint
    assert first.summary.startswith("BTC 1m: 3 slots lost between 1970-01-01 00:00 and 1970-01-01 00:03 UTC: ")
    assert "3 slots lost between 1970-01-01 00:04 and 1970-01-01 00:12 UTC, in 2 pieces" in second.summary
    assert second.summary.endswith("6 lost of this series in all")
    assert second.next_step


def test_a_window_that_died_says_how_much_why_and_which_letter_to_read() -> None:
    slots = SpanSet.single(0, 600_000)
    letter = DeadLetter(
        7, SeriesKey("ETH", Interval.M1), FailureKind.REFUSED, slots, slots, SpanSet(), 3, "422: no\nsuch form", {},
        "compare it", 11, 0, 120_000,
    )  # fmt: skip
    alert = window_died(letter)
    assert alert.summary == (
        "ETH 1m: 10 slots between 1970-01-01 00:00 and 1970-01-01 00:10 UTC are a dead letter after 3 failures "
        "(refused): 422: no such form"
    )
    assert alert.next_step == "see `hl dlq show 7`; compare it"
    assert alert.labels == {"coin": "ETH", "interval": "1m", "kind": "refused"}
