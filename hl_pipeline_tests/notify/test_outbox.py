from __future__ import annotations

from dataclasses import replace

import pytest

from hl_pipeline.model.alert import Incident, NoticeKind, Severity
from hl_pipeline.notify.outbox import LONGEST_BODY, LONGEST_RETRY_MS, compose, kind_due, retry_in_ms

HOUR = 3_600_000
#: Told at ten hours, repeated every four.
TOLD = Incident(
    number=7, rule="stale", opened_ms=9 * HOUR, told_ms=10 * HOUR, told_severity=Severity.WARNING, wait_ms=30_000,
    repeat_ms=4 * HOUR, alerts=500, open=500, loud=500, severity=Severity.WARNING, resolved_ms=None,
    examples=[(f"M{number}: late", "run `hl collect`") for number in range(10)], audible=Severity.WARNING,
)  # fmt: skip


@pytest.mark.parametrize(
    ("incident", "at_hour", "kind"),
    [
        (replace(TOLD, told_ms=None, told_severity=None), 10, NoticeKind.FIRING),
        (replace(TOLD, told_ms=None, told_severity=None, open=0, resolved_ms=0), 10, NoticeKind.FIRING),
        (TOLD, 13, None),
        (TOLD, 14, NoticeKind.REPEAT),
        (replace(TOLD, loud=0), 14, None),
        (replace(TOLD, severity=Severity.ERROR, audible=Severity.ERROR), 11, NoticeKind.WORSE),
        (replace(TOLD, severity=Severity.ERROR, audible=Severity.ERROR, loud=0), 11, NoticeKind.WORSE),
        (replace(TOLD, severity=Severity.ERROR, audible=None, loud=0), 11, None),
        (replace(TOLD, severity=Severity.ERROR), 11, None),
        (replace(TOLD, severity=Severity.INFO, audible=Severity.INFO), 11, None),
        (replace(TOLD, open=0, loud=0, resolved_ms=11 * HOUR), 11, None),
        (replace(TOLD, open=0, loud=0, resolved_ms=11 * HOUR), 12, NoticeKind.RESOLVED),
    ],
)
def test_what_is_due(incident: Incident, at_hour: int, kind: NoticeKind | None) -> None:
    assert kind_due(incident, at_hour * HOUR) == kind


def test_a_notice_names_ten_counts_the_rest_and_says_each_step_once() -> None:
    notice = compose(TOLD, NoticeKind.FIRING, 10 * HOUR)
    assert notice.title == "[WARNING] hl_pipeline: stale, 500 alerts"
    assert "- M9: late\n- and 490 more\nSince 1970-01-01 09:00 UTC, incident 7." in notice.body
    assert notice.body.count("hl collect") == 1


def test_a_resolution_is_as_grave_as_what_was_told_and_says_from_when_to_when() -> None:
    over = replace(TOLD, open=0, severity=Severity.INFO, resolved_ms=11 * HOUR)
    notice = compose(over, NoticeKind.RESOLVED, 12 * HOUR)
    assert notice.severity is Severity.WARNING
    assert "Over. Since 1970-01-01 09:00 UTC, until 1970-01-01 11:00 UTC." in notice.body
    assert "Next" not in notice.body


def test_a_body_fits_its_sinks_however_long_the_alerts_are() -> None:
    long = replace(TOLD, examples=[("x" * 5_000, "y" * 5_000)] * 10)
    assert len(compose(long, NoticeKind.FIRING, 10 * HOUR).body) <= LONGEST_BODY + 20


def test_patience_with_a_sink_grows_to_five_minutes() -> None:
    assert [retry_in_ms(attempts) // 1000 for attempts in (1, 2, 3, 4)] == [15, 30, 60, 120]
    assert retry_in_ms(1_000) == LONGEST_RETRY_MS
