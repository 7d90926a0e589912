"""One pass of alerting: judge the rules, make notices of what changed, send what is due.

Each pass begins anew from the tables, so a pass that dies leaves nothing undone but its own part, and two at once do
not disturb each other: notices are made under a lock, deliveries are claimed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from hl_pipeline.health.rules import judgeable, judged
from hl_pipeline.health.verdict import freshness_bound_s
from hl_pipeline.model.alert import Alert, AlertRule, Severity
from hl_pipeline.model.clock import Clock
from hl_pipeline.model.interval import Interval
from hl_pipeline.model.vitals import Vitals
from hl_pipeline.notify.alerts import funding_extreme, market_doubted, market_stale, price_moved
from hl_pipeline.notify.channels import Channel, NotDelivered
from hl_pipeline.notify.outbox import CLAIM_MS, EXAMPLES, compose, kind_due, retry_in_ms
from hl_pipeline.storage import alert_delivery, alert_findings
from hl_pipeline.storage.engine import Connection, Database

#: No new sending begins after so long in one pass, in seconds: the next pass goes on.
LONGEST_PASS_S = 40.0
Finder = Callable[[Connection, AlertRule, Vitals], list[Alert]]


@dataclass(frozen=True, slots=True)
class Told:
    """What came of a pass: alerts that went into incidents, notices made, deliveries sent and not taken."""

    taken: int = 0
    notices: int = 0
    sent: int = 0
    failed: int = 0


def evaluate(connection: Connection, vitals: Vitals) -> int:
    """Makes the open alerts of every rule that is judged here those of this moment; how many were found.

    A rule whose numbers could not be measured is not judged: what is open of it stays open, and the others go on.
    """
    rules = alert_delivery.rules(connection)
    known = judgeable(vitals.unmeasured)
    found = judged(vitals, {name: rules[name] for name in known if name in rules})
    for name, find in _FINDERS.items():
        if name in rules and rules[name].enabled:
            found += find(connection, rules[name], vitals)
    alert_delivery.synchronise(connection, [*known, *_FINDERS], found, vitals.now_ms)
    return len(found)


def make_notices(connection: Connection, channels: Sequence[Channel], now_ms: int) -> tuple[int, int]:
    """Notices of what the outbox holds and of what is due again or over; how many alerts were taken, and notices."""
    taken = alert_delivery.take(connection, now_ms)
    notices = 0
    for incident in alert_delivery.incidents(connection, now_ms, examples=EXAMPLES):
        kind = kind_due(incident, now_ms)
        if kind is None:
            continue
        notice = compose(incident, kind, now_ms)
        names = [channel.name for channel in channels if channel.wants(notice.severity)]
        alert_delivery.write_notice(connection, incident, notice, names, now_ms)
        notices += 1
    return taken, notices


def send_due(database: Database, channels: Sequence[Channel], clock: Clock) -> tuple[int, int]:
    """Sends what is due, one claim at a time, outside any transaction; how many were taken, and how many not.

    A channel that fails is left alone for the rest of the pass. Killed between sending and its mark, a sender leaves a
    claim that is past after a minute: that one notice comes twice.
    """
    sinks: Mapping[str, Channel] = {channel.name: channel for channel in channels}
    up, sent, failed = set(sinks), 0, 0
    until = time.monotonic() + LONGEST_PASS_S
    while up and time.monotonic() < until:
        with database.connection() as connection:
            delivery = alert_delivery.claim(connection, sorted(up), clock.now_ms(), claim_ms=CLAIM_MS)
        if delivery is None:
            break
        try:
            sinks[delivery.channel].send(delivery.notice)
        except NotDelivered as error:
            up.discard(delivery.channel)
            failed += 1
            due_ms = clock.now_ms() + retry_in_ms(delivery.attempt)
            with database.connection() as connection:
                alert_delivery.failed(connection, delivery, str(error), due_ms)
            continue
        with database.connection() as connection:
            alert_delivery.sent(connection, delivery, clock.now_ms())
        sent += 1
    return sent, failed


def tell(database: Database, channels: Sequence[Channel], clock: Clock) -> Told:
    """Notices of what changed, then whatever is due to be sent."""
    with database.connection() as connection:
        taken, notices = make_notices(connection, channels, clock.now_ms())
    sent, failed = send_due(database, channels, clock)
    return Told(taken, notices, sent, failed)


def _stale(connection: Connection, rule: AlertRule, v: Vitals) -> list[Alert]:
    bounds = {interval: rule.bound * freshness_bound_s(interval, v.period_s, v.settle_s) for interval in Interval}
    severity = rule.severity or Severity.WARNING
    return [market_stale(*found, severity) for found in alert_findings.stale_markets(connection, v.now_ms, bounds)]


def _doubted(connection: Connection, rule: AlertRule, v: Vitals) -> list[Alert]:
    severity = rule.severity or Severity.CRITICAL
    found = alert_findings.doubted_markets(connection, v.now_ms, rule.bound)
    return [market_doubted(*market, rule.bound, severity) for market in found]


def _moved(connection: Connection, rule: AlertRule, v: Vitals) -> list[Alert]:
    severity = rule.severity or Severity.INFO
    found = alert_findings.moved_markets(connection, v.now_ms, rule.bound)
    return [price_moved(*market, severity) for market in found]


def _dear(connection: Connection, rule: AlertRule, v: Vitals) -> list[Alert]:
    severity = rule.severity or Severity.INFO
    return [
        funding_extreme(*market, severity) for market in alert_findings.dear_markets(connection, v.now_ms, rule.bound)
    ]


_FINDERS: Mapping[str, Finder] = {
    "stale": _stale,
    "confidence": _doubted,
    "price_move": _moved,
    "funding_extreme": _dear,
}
