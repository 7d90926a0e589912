"""The alert rules that the measured numbers answer. Each rule judges all of them at once; words come from verdicts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping

from hl_pipeline.health.runbooks import PAGE_OF_RULE, runbook_path
from hl_pipeline.health.verdict import Verdict, all_verdicts, clock_off_ms
from hl_pipeline.model.alert import Alert, AlertRule, Severity
from hl_pipeline.model.endpoint import LAG_MS, healthy, why_unhealthy
from hl_pipeline.model.open_gap import DEADLINE_URGENT_MS
from hl_pipeline.model.vitals import Vitals

_HOUR_MS = 3_600_000
Verdicts = Mapping[str, Verdict]
Judge = Callable[[AlertRule, Vitals, Verdicts], Iterator[Alert]]


def judged(vitals: Vitals, rules: Mapping[str, AlertRule]) -> list[Alert]:
    """Every alert that the enabled ones of ``RULES`` raise on these numbers."""
    verdicts = {verdict.name: verdict for verdict in all_verdicts(vitals)}
    enabled = [rules[name] for name in RULES if name in rules and rules[name].enabled]
    return [alert for rule in enabled for alert in RULES[rule.name](rule, vitals, verdicts)]


def judgeable(unmeasured: Collection[str]) -> list[str]:
    """Those of ``RULES`` whose numbers are there, when these groups of numbers could not be measured."""
    return [name for name in RULES if not _GROUPS.get(name, frozenset()) & set(unmeasured)]


def _alert(
    rule: AlertRule, said: str, *, labels: Mapping[str, str] | None = None, severity: Severity | None = None
) -> Alert:
    """``said`` is a verdict's sentence: what was found, and after ``Next:`` what to do."""
    found, _, step = said.partition(". Next: ")
    grave = severity or rule.severity or Severity.WARNING
    todo = step or "run `hl health`: it says what was found and what to do"
    if (check := PAGE_OF_RULE.get(rule.name)) is not None:
        todo = f"{todo} ({runbook_path(check)})"
    return Alert(rule.name, grave, found, todo, labels or {})


def _database_late(rule: AlertRule, v: Vitals, verdicts: Verdicts) -> Iterator[Alert]:
    if v.database_ms > rule.bound:
        yield _alert(rule, verdicts["database_answers"].sentence)


def _exchange_down(rule: AlertRule, v: Vitals, verdicts: Verdicts) -> Iterator[Alert]:
    if v.endpoints and not healthy(v.endpoints):
        yield _alert(rule, verdicts["endpoints_healthy"].sentence)
    elif v.fetches and v.fetches_failed / v.fetches > rule.bound:
        yield _alert(rule, verdicts["api_answers"].sentence)


def _error_rate(rule: AlertRule, v: Vitals, verdicts: Verdicts) -> Iterator[Alert]:
    if v.fetches and v.fetches_failed / v.fetches > rule.bound:
        yield _alert(rule, verdicts["api_answers"].sentence)


def _api_latency(rule: AlertRule, v: Vitals, _: Verdicts) -> Iterator[Alert]:
    if (v.fetch_p50_ms or 0.0) > rule.bound:
        yield _alert(
            rule,
            f"half of {v.fetches:,} answers took longer than {v.fetch_p50_ms:.0f} ms in 15 minutes "
            f"(bound {rule.bound:.0f}), p99 {v.fetch_p99_ms or 0:.0f} ms. Next: is the exchange slow, or the way? "
            "Another endpoint in HL_ENDPOINTS takes the load by itself",
        )


def _throughput(rule: AlertRule, v: Vitals, _: Verdicts) -> Iterator[Alert]:
    if v.fetches < rule.bound:
        yield _alert(
            rule,
            f"{v.fetches} requests were made in 15 minutes (bound {rule.bound:.0f}): nobody collects. Next: does "
            "`hl up` run, and is the schedule collect_each_minute on? `hl collect` catches up by hand",
        )


def _coverage(rule: AlertRule, v: Vitals, _: Verdicts) -> Iterator[Alert]:
    """Slots past their next try; what is lost for good is rule slots_lost's, and told once."""
    for interval, found in v.intervals.items():
        if found.due and 1 - found.overdue / found.due < rule.bound:
            yield _alert(
                rule,
                f"{interval}: {found.overdue:,} of {found.due:,} due slots are past their next try: "
                f"{1 - found.overdue / found.due:.2%} covered (bound {rule.bound:.2%}). Next: `hl gaps` says of each "
                "why it is open; `hl collect` asks for them now",
                labels={"interval": str(interval)},
            )


def _gap_deadline(rule: AlertRule, v: Vitals, verdicts: Verdicts) -> Iterator[Alert]:
    if v.endangered is None:
        return
    left_ms = v.endangered.deadline_ms - v.now_ms
    if left_ms < rule.bound * _HOUR_MS:
        severity = Severity.CRITICAL if left_ms < DEADLINE_URGENT_MS else None
        yield _alert(rule, verdicts["gaps_before_deadline"].sentence, severity=severity)


def _budget_exhausted(rule: AlertRule, v: Vitals, verdicts: Verdicts) -> Iterator[Alert]:
    if (v.budget_refused_since_s or 0.0) > rule.bound:
        yield _alert(rule, verdicts["budget_has_room"].sentence)


def _rate_limited(rule: AlertRule, v: Vitals, verdicts: Verdicts) -> Iterator[Alert]:
    if v.fetches_limited > rule.bound:
        yield _alert(rule, verdicts["budget_has_room"].sentence)


def _stream_down(rule: AlertRule, _: Vitals, verdicts: Verdicts) -> Iterator[Alert]:
    if not verdicts["stream_alive"].passed:
        yield _alert(rule, verdicts["stream_alive"].sentence)


def _endpoint_unwell(rule: AlertRule, v: Vitals, verdicts: Verdicts) -> Iterator[Alert]:
    """Each that is unwell, and that all are far from our clock: the check that fails of it is not told beside this."""
    for state in v.endpoints:
        if (why := why_unhealthy(state, v.endpoints)) is not None:
            said = (
                f"{state.host}: {why}. Next: read last_error in hl.endpoint; whoever is well takes the load meanwhile"
            )
            yield _alert(rule, said, labels={"endpoint": state.host})
    if clock_off_ms(v.endpoints) > LAG_MS:
        yield _alert(rule, verdicts["endpoints_healthy"].sentence, labels={"endpoint": "all"})


def _rows_vanished(rule: AlertRule, v: Vitals, verdicts: Verdicts) -> Iterator[Alert]:
    if len(v.vanished) > rule.bound:
        yield _alert(rule, verdicts["no_vanished_rows"].sentence)


def _contract_broken(rule: AlertRule, v: Vitals, verdicts: Verdicts) -> Iterator[Alert]:
    if v.rows_breaking_contract > rule.bound:
        yield _alert(rule, verdicts["rows_keep_contract"].sentence)


#: The rules of hl.alert_rule that these numbers answer.
RULES: Mapping[str, Judge] = {
    "database_down": _database_late,
    "database_slow": _database_late,
    "exchange_down": _exchange_down,
    "error_rate": _error_rate,
    "api_latency": _api_latency,
    "throughput": _throughput,
    "coverage": _coverage,
    "gap_deadline": _gap_deadline,
    "budget_exhausted": _budget_exhausted,
    "rate_limited": _rate_limited,
    "stream_down": _stream_down,
    "endpoint_unwell": _endpoint_unwell,
    "rows_vanished": _rows_vanished,
    "contract_broken": _contract_broken,
}

#: Which groups of ``Vitals.unmeasured`` a rule reads; without them nobody knows whether it is broken.
_GROUPS: Mapping[str, frozenset[str]] = {
    "exchange_down": frozenset({"endpoints", "requests"}),
    "error_rate": frozenset({"requests"}),
    "api_latency": frozenset({"requests"}),
    "throughput": frozenset({"requests"}),
    "coverage": frozenset({"coverage"}),
    "gap_deadline": frozenset({"deadlines"}),
    "budget_exhausted": frozenset({"budget", "requests"}),
    "rate_limited": frozenset({"budget", "requests"}),
    "stream_down": frozenset({"stream"}),
    "endpoint_unwell": frozenset({"endpoints"}),
    "rows_vanished": frozenset({"vanished"}),
    "contract_broken": frozenset({"contract"}),
}
