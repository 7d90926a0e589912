"""What is told of an incident, when, and in which words; and how long a sink that is down is left alone. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from hl_pipeline.model.alert import Incident, Notice, NoticeKind, Severity
from hl_pipeline.model.interval import to_datetime
from hl_pipeline.model.redact import redact

#: So many alerts of an incident are told in words, the rest are counted.
EXAMPLES = 10
#: What one notice may hold: the tightest of the sinks cuts or refuses longer ones.
LONGEST_BODY = 3_000
#: How long a sender may take before another takes over.
CLAIM_MS = 60_000
FIRST_RETRY_MS = 15_000
LONGEST_RETRY_MS = 300_000


def kind_due(incident: Incident, now_ms: int) -> NoticeKind | None:
    """Which notice the incident is due at ``now_ms`` (market ms); null when nothing need be said.

    An incident ends when none of its alerts came back for the rule's wait. It is not repeated while all its open
    alerts are acknowledged or muted. That it got worse is told of acknowledged ones, too: who looks after a warning has
    not heard of an error.
    """
    if incident.told_ms is None or incident.told_severity is None:
        return NoticeKind.FIRING
    if not incident.open:
        quiet_since = incident.opened_ms if incident.resolved_ms is None else incident.resolved_ms
        return NoticeKind.RESOLVED if now_ms >= quiet_since + incident.wait_ms else None
    if incident.audible is not None and incident.audible.rank > incident.told_severity.rank:
        return NoticeKind.WORSE
    if not incident.loud:
        return None
    return NoticeKind.REPEAT if now_ms >= incident.told_ms + incident.repeat_ms else None


def compose(incident: Incident, kind: NoticeKind, now_ms: int) -> Notice:
    """The notice in words: what was found, since when, and what to do next."""
    severity = incident.severity
    if kind is NoticeKind.RESOLVED and incident.told_severity is not None:
        severity = incident.told_severity
    elif kind is NoticeKind.WORSE and incident.audible is not None:
        severity = incident.audible
    return Notice(kind, severity, _title(incident, kind, severity), _body(incident, kind, now_ms))


def retry_in_ms(attempts: int) -> int:
    """How long to wait after so many failed attempts, from 1: 15 s, 30 s, and so on to five minutes."""
    return int(min(FIRST_RETRY_MS * 2 ** min(attempts - 1, 10), LONGEST_RETRY_MS))


def _title(incident: Incident, kind: NoticeKind, severity: Severity) -> str:
    word = {
        NoticeKind.FIRING: str(severity).upper(),
        NoticeKind.WORSE: f"{severity}, was {incident.told_severity}".upper(),
        NoticeKind.REPEAT: f"still {severity}".upper(),
        NoticeKind.RESOLVED: "RESOLVED",
    }[kind]
    count = incident.alerts if kind is NoticeKind.RESOLVED else incident.open
    return f"[{word}] hl_pipeline: {incident.rule}" + (f", {count:,} alerts" if count > 1 else "")


def _body(incident: Incident, kind: NoticeKind, now_ms: int) -> str:
    since = f"Since {to_datetime(incident.opened_ms):%Y-%m-%d %H:%M} UTC"
    if kind is NoticeKind.RESOLVED:
        over_ms = now_ms if incident.resolved_ms is None else incident.resolved_ms
        head = f"Over. {since}, until {to_datetime(over_ms):%Y-%m-%d %H:%M} UTC."
        return _cut([head, *_list(incident.examples, incident.alerts)])
    steps = dict.fromkeys(step for _, step in incident.examples)
    count = incident.open or incident.alerts
    return _cut(
        [
            *_list(incident.examples, count),
            f"{since}, incident {incident.number}.",
            *(f"Next: {step}" for step in list(steps)[:3]),
            "`hl alerts list` shows all, `hl alerts ack ID` stops the repeats.",
        ]
    )


def _list(examples: Sequence[tuple[str, str]], count: int) -> list[str]:
    shown = [summary for summary, _ in examples[:count]]
    more = count - len(shown)
    return [*(f"- {line}" for line in shown), *([f"- and {more:,} more"] if more > 0 else [])]


def _cut(lines: Sequence[str]) -> str:
    """The lines, long ones shortened until all fit."""
    lines = [redact(line) for line in lines]  # before they are cut
    longest = max(80, LONGEST_BODY // max(len(lines), 1))
    return "\n".join(line if len(line) <= longest else line[: longest - 1] + "…" for line in lines)
