from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hl_pipeline.notify.alerts import failed_check, failed_run, fingerprint


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
