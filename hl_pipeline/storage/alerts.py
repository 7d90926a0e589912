"""hl.alert: one open row a fingerprint, counted each time it is seen, resolved once.

Reading the open ones for people is ``storage.overview.open_alerts``.
"""

from __future__ import annotations

from psycopg.types.json import Jsonb

from hl_pipeline.model.alert import Alert
from hl_pipeline.model.interval import to_datetime
from hl_pipeline.storage.engine import Connection
from hl_pipeline.storage.overview import OpenAlert, open_alerts
from hl_pipeline.storage.sql import query

__all__ = ["OpenAlert", "count_open", "open_alerts", "raise_alert", "resolve", "resolve_quiet"]


def raise_alert(connection: Connection, alert: Alert, now_ms: int) -> tuple[int, bool]:
    """The alert's id, and whether it is new: only a new one needs telling."""
    parameters = {
        "fingerprint": alert.fingerprint,
        "severity": str(alert.severity),
        "rule": alert.rule,
        "labels": Jsonb(dict(alert.labels)),
        "summary": alert.summary,
        "next_step": alert.next_step,
        "now": to_datetime(now_ms),
    }
    row = connection.execute(query("alert_raise"), parameters).fetchone()
    if row is None:
        raise AssertionError("an upsert that always returns its row returned none")
    return int(row[0]), bool(row[1])


def resolve(connection: Connection, fingerprint: str, now_ms: int) -> bool:
    """Closes the open alert with this fingerprint; false when none was open."""
    parameters = {"fingerprint": fingerprint, "now": to_datetime(now_ms)}
    return connection.execute(query("alert_resolve"), parameters).rowcount > 0


def resolve_quiet(connection: Connection, rule: str, quiet_ms: int, now_ms: int) -> int:
    """Closes the open alerts of ``rule`` that were not seen again for ``quiet_ms``; returns how many."""
    since = to_datetime(now_ms - quiet_ms)
    quiet = connection.execute(query("alerts_quiet"), {"rule": rule, "since": since}).fetchall()
    return sum(resolve(connection, fingerprint, now_ms) for (fingerprint,) in quiet)


def count_open(connection: Connection, rule: str) -> int:
    """How many alerts of ``rule`` are open."""
    row = connection.execute(query("alerts_open_count"), {"rule": rule}).fetchone()
    return 0 if row is None else int(row[0])
