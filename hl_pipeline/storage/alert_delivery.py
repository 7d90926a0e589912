"""From hl.alert_outbox to incidents, notices and deliveries; and what people do about alerts.

All instants are market time, ms UTC. The trigger on hl.alert fills the outbox, in the transaction that changes the
alert.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from psycopg.types.json import Jsonb

from hl_pipeline.model.alert import Alert, AlertRule, Delivery, Incident, Notice, NoticeKind, Severity
from hl_pipeline.model.interval import to_datetime
from hl_pipeline.storage.engine import Connection
from hl_pipeline.storage.sql import query


class ListedAlert(NamedTuple):
    """An alert as people see it; ``muted`` says why it is not told, null when it is."""

    number: int
    severity: str
    rule: str
    labels: dict[str, str]
    summary: str
    next_step: str
    times_seen: int
    first_seen_ms: int
    last_seen_ms: int
    resolved_ms: int | None
    acknowledged_ms: int | None
    acknowledged_by: str | None
    muted: str | None
    incident: int | None
    told_ms: int | None


class Silence(NamedTuple):
    """Alerts of ``rule`` (null: any) with these labels are not told before ``until_ms``."""

    number: int
    rule: str | None
    labels: dict[str, str]
    until_ms: int
    made_by: str
    reason: str


class ChannelRecord(NamedTuple):
    """How a channel fared in 24 hours: notices made, sent and waiting, attempts, and sent ÷ attempts (0 to 1)."""

    channel: str
    notices: int
    sent: int
    waiting: int
    attempts: int
    success_rate: float | None
    slowest_s: float | None
    last_error: str | None


def synchronise(connection: Connection, rules: Sequence[str], found: Sequence[Alert], now_ms: int) -> int:
    """Makes ``found`` the open alerts of these ``rules``: raises all of them, closes the others; how many it closed.

    Holds other processes off until the commit: two that found different alerts would lock each other out.
    """
    connection.execute(query("alert_fold_lock"))
    rows = [
        {
            "fingerprint": alert.fingerprint,
            "severity": str(alert.severity),
            "rule": alert.rule,
            "labels": dict(alert.labels),
            "summary": alert.summary,
            "next_step": alert.next_step,
        }
        for alert in found
    ]
    now = to_datetime(now_ms)
    if rows:
        connection.execute(query("alerts_raise"), {"found": Jsonb(rows), "now": now})
    parameters = {"rules": list(rules), "found": [row["fingerprint"] for row in rows], "now": now}
    return connection.execute(query("alerts_over"), parameters).rowcount


def take(connection: Connection, now_ms: int) -> int:
    """Moves what is due from the outbox into incidents; how many alerts. Holds other processes off until the commit."""
    now = {"now": to_datetime(now_ms)}
    connection.execute(query("alert_fold_lock"))
    taken = connection.execute(query("alert_take"), now).rowcount
    connection.execute(query("alert_outbox_drop"), now)
    return taken


def incidents(connection: Connection, now_ms: int, *, examples: int) -> list[Incident]:
    """The open incidents, the oldest first, each with at most so many examples."""
    parameters = {"now": to_datetime(now_ms), "examples": examples}
    return [_incident(row) for row in connection.execute(query("alert_incidents"), parameters)]


def write_notice(
    connection: Connection, incident: Incident, notice: Notice, channels: Sequence[str], now_ms: int
) -> int:
    """Keeps the notice, due on these channels (a resolution: on those told of the trouble); how many deliveries."""
    parameters = {
        "incident_id": incident.number,
        "kind": str(notice.kind),
        "severity": str(notice.severity),
        "title": notice.title,
        "body": notice.body,
        "channels": list(channels),
        "now": to_datetime(now_ms),
    }
    return connection.execute(query("alert_notice_insert"), parameters).rowcount


def claim(connection: Connection, channels: Sequence[str], now_ms: int, *, claim_ms: int) -> Delivery | None:
    """The next delivery of these channels, claimed for ``claim_ms``; null when none is due."""
    parameters = {
        "channels": list(channels),
        "now": to_datetime(now_ms),
        "until": to_datetime(now_ms + claim_ms),
    }
    row = connection.execute(query("alert_delivery_claim"), parameters).fetchone()
    if row is None:
        return None
    notice_id, channel, attempt, kind, severity, title, body = row
    return Delivery(notice_id, channel, attempt, Notice(NoticeKind(kind), Severity(severity), title, body))


def sent(connection: Connection, delivery: Delivery, now_ms: int) -> None:
    """The channel took it."""
    parameters = {"notice_id": delivery.notice_id, "channel": delivery.channel, "now": to_datetime(now_ms)}
    connection.execute(query("alert_delivery_sent"), parameters)


def failed(connection: Connection, delivery: Delivery, error: str, due_ms: int) -> None:
    """The channel did not take it; it is due again at ``due_ms``."""
    parameters = {
        "notice_id": delivery.notice_id,
        "channel": delivery.channel,
        "attempts": delivery.attempt,
        "error": error,
        "due": to_datetime(due_ms),
    }
    connection.execute(query("alert_delivery_failed"), parameters)


def rates(connection: Connection, now_ms: int) -> list[ChannelRecord]:
    """How each channel fared over the last 24 hours, and what still waits for it."""
    found = connection.execute(query("alert_delivery_rate"), {"now": to_datetime(now_ms)})
    return [ChannelRecord(*row) for row in found]


def beat(connection: Connection, now_ms: int) -> None:
    """The rules were judged and the outbox emptied now."""
    connection.execute(query("alert_pulse_beat"), {"now": to_datetime(now_ms)})


def last_beat_ms(connection: Connection) -> int | None:
    """When the rules were last judged; null when they never were."""
    row = connection.execute(query("alert_pulse_read")).fetchone()
    return None if row is None else int(row[0])


def listed(connection: Connection, now_ms: int, *, resolved_within_ms: int = 0) -> list[ListedAlert]:
    """The open alerts, and those resolved so lately; open ones and the gravest first."""
    parameters = {"now": to_datetime(now_ms), "since": to_datetime(now_ms - resolved_within_ms)}
    return [ListedAlert(*row) for row in connection.execute(query("alerts_listed"), parameters)]


def acknowledge(connection: Connection, number: int, by: str, now_ms: int) -> int:
    """Stops the repeats of the open alert and of all others of its incident; how many there were."""
    parameters = {"alert_id": number, "by": by, "now": to_datetime(now_ms)}
    return connection.execute(query("alerts_acknowledge"), parameters).rowcount


def silence(
    connection: Connection,
    *,
    rule: str | None,
    labels: Mapping[str, str],
    now_ms: int,
    until_ms: int,
    by: str,
    reason: str,
) -> int:
    """Has alerts of ``rule`` (null: any) with these labels not told before ``until_ms``; the silence's number."""
    parameters: dict[str, Any] = {
        "rule": rule,
        "labels": Jsonb(dict(labels)),
        "now": to_datetime(now_ms),
        "until": to_datetime(until_ms),
        "by": by,
        "reason": reason,
    }
    row = connection.execute(query("alert_silence_insert"), parameters).fetchone()
    if row is None:
        raise AssertionError("an insert that returns its row returned none")
    return int(row[0])


def end_silence(connection: Connection, number: int, now_ms: int) -> bool:
    """Ends a silence; false when it was not in force."""
    parameters = {"silence_id": number, "now": to_datetime(now_ms)}
    return connection.execute(query("alert_silence_end"), parameters).rowcount > 0


def silences(connection: Connection, now_ms: int) -> list[Silence]:
    """Those in force, the first to end first."""
    return [Silence(*row) for row in connection.execute(query("alert_silences"), {"now": to_datetime(now_ms)})]


def rules(connection: Connection) -> dict[str, AlertRule]:
    """Every rule by name."""
    found = [
        AlertRule(
            name, enabled, None if severity is None else Severity(severity), threshold,
            round(wait_ms), round(repeat_ms), group_by, inhibited_by, meaning, by_market,
        )
        for name, enabled, severity, threshold, wait_ms, repeat_ms, group_by, inhibited_by, meaning, by_market
        in connection.execute(query("alert_rules"))
    ]  # fmt: skip
    return {rule.name: rule for rule in found}


def change_rule(
    connection: Connection,
    name: str,
    *,
    enabled: bool | None = None,
    severity: Severity | None = None,
    threshold: float | None = None,
    repeat_ms: int | None = None,
) -> bool:
    """Changes what is given of a rule; false when there is no such rule."""
    parameters = {
        "name": name,
        "enabled": enabled,
        "severity": None if severity is None else str(severity),
        "threshold": threshold,
        "repeat_every": None if repeat_ms is None else timedelta(milliseconds=repeat_ms),
    }
    return connection.execute(query("alert_rule_change"), parameters).rowcount > 0


def change_market_bound(connection: Connection, name: str, coin: str, threshold: float) -> None:
    """Gives one market a bound of its own."""
    connection.execute(query("alert_rule_market"), {"name": name, "coin": coin, "threshold": threshold})


def _incident(row: tuple[Any, ...]) -> Incident:
    (
        number, rule, opened_ms, told_ms, told, wait_ms, repeat_ms, alerts, still, loud, severity, resolved_ms, shown,
        audible,
    ) = row  # fmt: skip
    return Incident(
        number, rule, opened_ms, told_ms, None if told is None else Severity(told), round(wait_ms), round(repeat_ms),
        alerts, still, loud, Severity(severity), resolved_ms, [(summary, step) for summary, step in shown],
        None if audible is None else Severity(audible),
    )  # fmt: skip
