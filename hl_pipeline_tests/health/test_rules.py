from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from hl_pipeline.health.rules import RULES, judgeable, judged
from hl_pipeline.model.alert import AlertRule
from hl_pipeline.model.endpoint import Breaker, EndpointState
from hl_pipeline.model.interval import Interval
from hl_pipeline.model.open_gap import EndangeredSlots
from hl_pipeline.model.vitals import Vitals
from hl_pipeline.storage import alert_delivery
from hl_pipeline.storage.engine import Database
from hl_pipeline_tests.health.test_verdict import GONE, HOUR_MS, MINUTE, NOW_MS, VITALS

WELL = EndpointState("https://a.example")
ILL = EndpointState("https://b.example", breaker=Breaker.OPEN, errors=5)
#: Both are alike, and far from our clock: it is ours that is wrong.
SLOW, SLOWER = replace(WELL, lag_ms=60_000), replace(WELL, url="https://c.example", lag_ms=61_000)


def endangered(hours: float) -> EndangeredSlots:
    return EndangeredSlots(30, NOW_MS + int(hours * HOUR_MS), "BTC", Interval.M1)


@pytest.fixture
def rules(database: Database) -> Mapping[str, AlertRule]:
    """As they are installed."""
    with database.connection() as connection:
        return alert_delivery.rules(connection)


def test_nothing_is_found_where_all_is_well(rules: Mapping[str, AlertRule]) -> None:
    assert not judged(replace(VITALS, endpoints=[WELL]), rules)


def test_every_rule_judged_here_is_installed(rules: Mapping[str, AlertRule]) -> None:
    assert set(RULES) < set(rules)


@pytest.mark.parametrize(
    ("vitals", "found"),
    [
        (replace(VITALS, fetches_failed=5), []),
        (replace(VITALS, fetches_failed=6), [("error_rate", "warning")]),
        (replace(VITALS, fetches_failed=51), [("exchange_down", "critical"), ("error_rate", "warning")]),
        (replace(VITALS, fetch_p50_ms=1_000.0), []),
        (replace(VITALS, fetch_p50_ms=1_001.0), [("api_latency", "error")]),
        (replace(VITALS, fetches=0), [("throughput", "critical")]),
        (replace(VITALS, database_ms=251.0), [("database_slow", "warning")]),
        (replace(VITALS, database_ms=2_001.0), [("database_down", "critical"), ("database_slow", "warning")]),
        (replace(VITALS, intervals={Interval.M1: replace(MINUTE, overdue=1)}), []),
        (replace(VITALS, intervals={Interval.M1: replace(MINUTE, overdue=2)}), [("coverage", "warning")]),
        (replace(VITALS, endangered=endangered(11.9)), [("gap_deadline", "error")]),
        (replace(VITALS, endangered=endangered(1.9)), [("gap_deadline", "critical")]),
        (replace(VITALS, budget_refused_since_s=121.0), [("budget_exhausted", "warning")]),
        (replace(VITALS, fetches_limited=1), [("rate_limited", "warning")]),
        (replace(VITALS, expects_stream=True), [("stream_down", "warning")]),
        (replace(VITALS, endpoints=[WELL, ILL]), [("endpoint_unwell", "warning")]),
        (replace(VITALS, endpoints=[ILL]), [("exchange_down", "critical"), ("endpoint_unwell", "warning")]),
        (replace(VITALS, endpoints=[SLOW, SLOWER]), [("endpoint_unwell", "warning")]),
        (replace(VITALS, vanished=[GONE]), [("rows_vanished", "warning")]),
        (replace(VITALS, rows_breaking_contract=1), [("contract_broken", "error")]),
    ],
)
def test_each_bound(vitals: Vitals, found: list[tuple[str, str]], rules: Mapping[str, AlertRule]) -> None:
    alerts = judged(vitals, rules)
    assert [(alert.rule, str(alert.severity)) for alert in alerts] == found
    assert all(alert.summary and alert.next_step and ". Next: " not in alert.summary for alert in alerts)


def test_a_rule_that_is_off_finds_nothing(rules: Mapping[str, AlertRule]) -> None:
    off = {**rules, "throughput": replace(rules["throughput"], enabled=False)}
    assert not judged(replace(VITALS, fetches=0), off)


def test_without_a_group_of_numbers_only_the_rules_on_it_are_not_judged() -> None:
    assert judgeable([]) == list(RULES)
    assert judgeable(["standing", "trust", "delivery"]) == list(RULES), "no rule reads these"
    assert set(RULES) - set(judgeable(["requests"])) == {
        "exchange_down", "error_rate", "api_latency", "throughput", "budget_exhausted", "rate_limited",
    }  # fmt: skip
    everything = ["requests", "budget", "coverage", "deadlines", "stream", "endpoints", "vanished", "contract"]
    assert judgeable(everything) == ["database_down", "database_slow"], "they time the round trip itself"
