"""One trouble a person should know of, and how the same trouble is recognised again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from hl_pipeline.model.failure import InvalidSetting
from hl_pipeline.model.redact import redact


class Severity(StrEnum):
    """How grave; the lightest first."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """1 for info to 4 for critical, as ``hl.severity_rank`` counts."""
        return list(Severity).index(self) + 1


class NoticeKind(StrEnum):
    """What a notice says of its incident: it began, it is graver than told, it goes on, it is over."""

    FIRING = "firing"
    WORSE = "worse"
    REPEAT = "repeat"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Alert:
    """``rule`` and ``labels`` say which trouble it is; ``summary`` what was found; ``next_step`` what to do.

    The texts hold no secret of this process, whatever they were made from.
    """

    rule: str
    severity: Severity
    summary: str
    next_step: str
    labels: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "summary", redact(self.summary))
        object.__setattr__(self, "next_step", redact(self.next_step))

    @property
    def fingerprint(self) -> str:
        """Its identity: two alerts with one fingerprint are one incident."""
        return fingerprint(self.rule, self.labels)


@dataclass(frozen=True, slots=True)
class AlertRule:
    """What is told, from which bound on and how often (hl.alert_rule).

    ``severity`` null: as grave as whoever raises it says. ``threshold`` is in the unit that ``meaning`` names, and
    ``by_market`` holds the bounds that single coins have of their own.
    """

    name: str
    enabled: bool = True
    severity: Severity | None = None
    threshold: float | None = None
    wait_ms: int = 30_000
    repeat_ms: int = 14_400_000
    group_by: Sequence[str] = ()
    inhibited_by: Sequence[str] = ()
    meaning: str = ""
    by_market: Mapping[str, float] = field(default_factory=dict)

    @property
    def bound(self) -> float:
        """The threshold.

        Raises:
            InvalidSetting: somebody took it away.
        """
        if self.threshold is None:
            raise InvalidSetting(f"alert rule {self.name} has no threshold: `hl alerts rule {self.name} --threshold X`")
        return self.threshold


@dataclass(frozen=True, slots=True)
class Incident:
    """Alerts that are told as one: those of a rule that agree in the labels it groups by. Instants in market ms, UTC.

    Of its ``alerts`` so many are ``open``, and ``loud`` of those are neither acknowledged nor muted. ``severity`` is
    the gravest open one's, ``audible`` that of those that are not muted (null: all are). ``examples`` are (summary,
    next step) of the gravest. ``told_ms`` is null before the first notice, ``told_severity`` the gravest that was told.
    """

    number: int
    rule: str
    opened_ms: int
    told_ms: int | None
    told_severity: Severity | None
    wait_ms: int
    repeat_ms: int
    alerts: int
    open: int
    loud: int
    severity: Severity
    resolved_ms: int | None
    examples: Sequence[tuple[str, str]] = ()
    audible: Severity | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """What people read of an incident. The texts hold no secret of this process, whatever they were made from."""

    kind: NoticeKind
    severity: Severity
    title: str
    body: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "title", redact(self.title))
        object.__setattr__(self, "body", redact(self.body))


@dataclass(frozen=True, slots=True)
class Delivery:
    """A notice that this process has claimed for a channel, for the ``attempt``-th time (from 1)."""

    notice_id: int
    channel: str
    attempt: int
    notice: Notice


def fingerprint(rule: str, labels: Mapping[str, str]) -> str:
    """32 hexadecimal digits of SHA-256 over the rule and its labels; the labels' order does not matter."""
    text = json.dumps([rule, sorted(labels.items())], separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
